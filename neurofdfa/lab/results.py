"""Typed results: what comparisons, sweeps, the demo and measurements write, and what tables and reports read.

Runs are in `neurofdfa.lab.record`, what is found on the way to a chip in `neurofdfa.lab.chip`, energy in
`neurofdfa.lab.energy`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field

from neurofdfa.lab.document import (
    Command,
    Document,
    Interval,
    Measured,
    MeasuredScore,
    Record,
    Score,
    Settings,
    Text,
    Versions,
)
from neurofdfa.lab.statistics import Difference, estimate, holm, mean, paired

COMPARISON = "comparison.json"
SWEEP = "ablation.json"
DEMO = "demo.json"
SIGNIFICANT = 0.05
"""Below this p, corrected for many comparisons, two points of a sweep count as different."""

Share = Annotated[float, Field(ge=0, le=1)]


class RunResult(Record):
    """What one finished run found, the same wherever it runs: accuracies, rates per hidden layer, the cosine
    to the exact gradient per hidden layer at the chosen epoch and that of the feedback to the true gain after
    the last, joules to learn from a sample (None where they were not measured); curve: validation accuracy of
    every epoch.
    """

    validation_accuracy: Score
    test_accuracy: Score
    best_epoch: int
    firing_rate: list[Measured] = Field(default_factory=list[float])
    silent_neurons: list[int] = Field(default_factory=list[int])
    alignment: list[Measured] | None = None
    feedback_quality: list[Measured] | None = None
    energy: float | None = None
    curve: list[MeasuredScore] = Field(default_factory=list[float])
    train_samples: int | None = None


class Measurement(Record):
    """What a run took on this machine: seconds of training, on the clock and of the processor, MiB at the
    peak of one training step.
    """

    seconds: float
    cpu_seconds: float | None = None
    peak_mib: float


class FinishedRun(Record):
    """One finished run of many; folder: relative to the comparison's or sweep's."""

    seed: int
    folder: Text
    result: RunResult
    measured: Measurement


class FailedRun(Record):
    """A run without a result, and why."""

    seed: int
    reason: Text


class SeedSummary(Record):
    """Runs that differ in their seed only.

    mean, std and ci95 are of the test accuracy, those with the prefix `validation_` of the accuracy that
    settings may be chosen by; firing_rate, alignment and feedback_quality are means over seeds and layers;
    energy is in joules per sample learnt. None: not measured, or not defined for so few seeds.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    ci95: Interval | None = None
    validation_mean: float | None = None
    validation_std: float | None = None
    validation_ci95: Interval | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mib: float | None = None
    firing_rate: float | None = None
    alignment: float | None = None
    feedback_quality: float | None = None
    energy: float | None = None
    runs: tuple[FinishedRun, ...] = ()
    failed: tuple[FailedRun, ...] = ()

    @classmethod
    def of(cls, runs: Sequence[FinishedRun], failed: Sequence[FailedRun], **own: Any) -> Self:
        """Summarise; own: the other fields of the row."""
        results, measured = [run.result for run in runs], [run.measured for run in runs]
        test = estimate([result.test_accuracy for result in results])
        validation = estimate([result.validation_accuracy for result in results])
        return cls(
            n=len(runs),
            mean=test.mean if test else None,
            std=test.std if test else None,
            ci95=test.ci95 if test else None,
            validation_mean=validation.mean if validation else None,
            validation_std=validation.std if validation else None,
            validation_ci95=validation.ci95 if validation else None,
            seconds=mean([one.seconds for one in measured]),
            cpu_seconds=mean([one.cpu_seconds for one in measured if one.cpu_seconds is not None]),
            peak_mib=mean([one.peak_mib for one in measured]),
            firing_rate=mean([rate for result in results for rate in result.firing_rate]),
            alignment=_overall([result.alignment for result in results]),
            feedback_quality=_overall([result.feedback_quality for result in results]),
            energy=mean([result.energy for result in results if result.energy is not None]),
            runs=tuple(runs),
            failed=tuple(failed),
            **own,
        )

    def by_seed(self, accuracy: str) -> dict[int, float]:
        """`test_accuracy` or `validation_accuracy` of every seed that ran."""
        return {run.seed: float(getattr(run.result, accuracy)) for run in self.runs}


class RuleSummary(SeedSummary):
    """A rule of a comparison. difference: of its test accuracy from the reference's, over paired seeds;
    epochs_to_level, samples_to_level: until the validation accuracy that every run reached.
    """

    rule: Text
    difference: Difference | None = None
    epochs_to_level: float | None = None
    samples_to_level: float | None = None


class PointSummary(SeedSummary):
    """A point of a sweep: the settings that the sweep varies. chosen: whether the first seed kept it; None in
    a study that does not choose.
    """

    point: int
    settings: Settings
    chosen: bool | None = None


class Comparison(Document):
    """comparison.json. reference: the first rule; level: the validation accuracy that every run reached."""

    command: Command = ""
    versions: Versions = Field(default_factory=dict[str, str])
    data: Text = "unknown data"
    reference: Text = ""
    seeds: tuple[int, ...] = ()
    level: float | None = None
    rows: tuple[RuleSummary, ...] = ()


class Sweep(Document):
    """ablation.json. varied: the settings that differ between points, choose: those of which the first seed
    decides; best: the point with the highest mean validation accuracy among those whose seeds all ran.
    """

    command: Command = ""
    versions: Versions = Field(default_factory=dict[str, str])
    name: Text = ""
    seeds: tuple[int, ...] = ()
    varied: tuple[Text, ...] = ()
    choose: tuple[Text, ...] = ()
    done: int = 0
    failed: int = 0
    best: int | None = None
    rows: tuple[PointSummary, ...] = ()

    @property
    def best_row(self) -> PointSummary | None:
        """The row of the best point; None where no point is whole, or tasks differ."""
        return next((row for row in self.rows if row.point == self.best), None)

    def not_distinguishable(self) -> tuple[PointSummary, ...]:
        """The points that the seeds cannot tell from the best one, best first: by the paired t test on their
        validation accuracies, corrected for as many points (Holm). One seed can tell nothing.
        """
        best = self.best_row
        if best is None:
            return ()
        others = [row for row in self.rows if row.n == best.n and row.point != best.point]
        others.sort(key=lambda row: -(row.validation_mean or 0.0))
        first = best.by_seed("validation_accuracy")
        found = [paired(first, row.by_seed("validation_accuracy")) for row in others]
        adjusted = holm([None if one is None else one.p_t for one in found])
        return tuple(row for row, p in zip(others, adjusted, strict=True) if p is None or p >= SIGNIFICANT)


def _overall(values: Sequence[Sequence[float] | None]) -> float | None:
    """The mean over runs and layers of what may not have been measured."""
    return mean([found for layers in values if (found := mean(layers or ())) is not None])


class RuleRun(Record):
    """One rule on one task of the demo, one seed; folder: of its run, relative to the demo's."""

    rule: Text
    folder: Text = ""
    test_accuracy: Score | None = None
    validation_accuracy: Score | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    firing_rate: list[Measured] = Field(default_factory=list[float])


class Form(Record):
    """Accuracy of the demo's network in one form that it takes on the way to the chip."""

    stage: Text
    accuracy: Share | None = None
    samples: int | None = None


class SpikeParity(Record):
    """Spikes of one population on the integer reference and on Lava, and at how many (step, sample, neuron)
    they differ.
    """

    population: Text
    samples: int | None = None
    steps: int | None = None
    spikes_reference: int | None = None
    spikes_lava: int | None = None
    differences: int | None = None


class LavaRun(Record):
    """Whether Lava ran; the message says what is missing when it did not."""

    ok: bool = False
    message: Text = ""
    seconds: float | None = None


class QuantisedLayer(Record):
    """How one layer was brought to integers. scale: integer units per float weight; saturated: weights cut
    off; weight_error: rms of the error over rms of the weights; spike_agreement: share of neurons and steps
    at which both networks fired or both did not.
    """

    layer: Text
    bits: int | None = None
    scale: float | None = None
    saturated: int | None = None
    weight_error: float | None = None
    spike_agreement: Share | None = None
    firing_rate: float | None = None


class Demo(Document):
    """demo.json: both tasks, and the way of the default rule's network to the chip."""

    command: Command = ""
    versions: Versions = Field(default_factory=dict[str, str])
    digits: tuple[RuleRun, ...] = ()
    timing: tuple[RuleRun, ...] = ()
    stages: tuple[Form, ...] = ()
    parity: tuple[SpikeParity, ...] = ()
    lava: LavaRun | None = None
    quantisation: tuple[QuantisedLayer, ...] = ()


class Timing(Record):
    """A peer's time beside ours on one network and batch size. ratio: peer's time ÷ ours, `spread` its
    quartiles over rounds. Seconds are medians; rates: spikes per step and neuron of each hidden layer.
    """

    net: Text
    batch: int
    peer: Text
    version: Text = ""
    ratio: float
    spread: Interval
    seconds: float
    peer_seconds: float
    rates: tuple[float, ...] = ()
    peer_rates: tuple[float, ...] = ()


class Floor(Record):
    """Our time ÷ what the machine would need at best, medians and quartiles.

    dense_products: those of a step that goes back through time, measured beside ours. events: the fewest
    multiply-adds of our event-driven step at the rate of those products. threads: our time on one thread ÷
    ours on all. algorithm: multiply-adds of an event-driven step back through time ÷ ours, a count.
    """

    net: Text
    batch: int
    dense_products: float
    dense_products_spread: Interval
    events: float
    events_spread: Interval
    algorithm: float
    threads: float | None = None
    threads_spread: Interval | None = None


class Footprint(Record):
    """bytes: growth of the peak resident memory by a learner and its steps on T time steps (parameters,
    optimizer and buffers in it, the input not); median over processes.
    """

    peer: Text
    rule: Text
    T: int
    batch: int
    bytes: int


class StepCost(Record):
    """One training step with one number changed. seconds: median and quartiles; work: thousand multiply-adds
    on events that it takes at least. On the axis "stream" it is one time step of a stream that learns after
    each, by samples side by side.
    """

    axis: Text
    value: float
    seconds: float
    spread: Interval
    work: float


class EpochTime(Record):
    """Seconds of one epoch of 784-800-10 on MNIST's 60 000 images, wall time on all threads.

    batches: how many were timed of an epoch's 391 of the training and 79 of the validation split; seconds: of
    them, scaled to an epoch.
    """

    peer: Text
    version: Text = ""
    batches: int
    seconds: float


class Bench(Document):
    """What every measurement says. missing: simulators that were asked for and are not installed."""

    kind: Text
    command: Command = ""
    versions: Versions = Field(default_factory=dict[str, str])
    missing: tuple[Text, ...] = ()


class TimingBench(Bench):
    """train.json and infer.json. clock: `cpu` with one thread, else `wall`."""

    rows: tuple[Timing, ...] = ()
    floor_ratio: tuple[Floor, ...] = ()
    threads: int = 1
    clock: Text = "cpu"
    rounds: int | None = None
    seed: int = 0


class MemoryBench(Bench):
    """memory.json."""

    rows: tuple[Footprint, ...] = ()


class CurveBench(Bench):
    """curves.json."""

    rows: tuple[StepCost, ...] = ()


class EpochBench(Bench):
    """epoch.json."""

    rows: tuple[EpochTime, ...] = ()


BENCHES: Mapping[str, type[TimingBench | MemoryBench | CurveBench | EpochBench]] = {
    "memory": MemoryBench,
    "train": TimingBench,
    "infer": TimingBench,
    "curves": CurveBench,
    "epoch": EpochBench,
}
"""The measurements, each in the file of its name."""
