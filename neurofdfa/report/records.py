"""Run and demo folders as their reports see them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.record import SUMMARY, Epoch, Summary, read_epochs, read_summary
from neurofdfa.report.reading import Fields, printable, read_object

PerLayer = tuple[float | None, ...]


@dataclass(frozen=True)
class Run:
    """A run folder; `summary` is None while the run is not finished, `text` is config.toml as it stands."""

    folder: Path
    config: RunConfig
    text: str
    epochs: tuple[Epoch, ...]
    summary: Summary | None

    @property
    def rule(self) -> str:
        """Name of the learning rule."""
        return printable(self.config.rule.name)

    @property
    def data(self) -> str:
        """Name of the data."""
        return printable(self.config.data.name)

    @property
    def regression(self) -> bool:
        """Whether its accuracies are mean losses with a minus, which no share of right answers can be."""
        return any(epoch.validation_accuracy < 0 for epoch in self.epochs)


@dataclass(frozen=True)
class Row:
    """One rule on one task: a row of the demo's comparison."""

    rule: str
    test_accuracy: float | None
    validation_accuracy: float | None
    seconds: float | None
    peak_mib: float | None
    firing_rate: PerLayer
    run: Run | None

    @property
    def samples(self) -> int | None:
        """Size of the test split, when the run tells."""
        return self.run.summary.samples.get("test") if self.run and self.run.summary else None


class Stage(NamedTuple):
    """Accuracy of the same network in one form."""

    name: str
    accuracy: float | None
    samples: int | None


class Parity(NamedTuple):
    """Spikes of one population on the integer reference and on Lava."""

    population: str
    samples: int | None
    steps: int | None
    spikes_reference: int | None
    spikes_lava: int | None
    differences: int | None


class Lava(NamedTuple):
    """Whether Lava ran; the message says what is missing when it did not."""

    ok: bool
    message: str
    seconds: float | None


class Quantisation(NamedTuple):
    """How one layer was brought to integers."""

    layer: str
    bits: int | None
    scale: float | None
    saturated: int | None
    weight_error: float | None
    spike_agreement: float | None


@dataclass(frozen=True)
class Task:
    """All rules on one task."""

    name: str
    title: str
    rows: tuple[Row, ...]

    def row(self, rule: str) -> Row | None:
        """The row of `rule`."""
        return next((row for row in self.rows if row.rule == rule), None)


@dataclass(frozen=True)
class Demo:
    """A demo folder."""

    folder: Path
    command: str
    versions: dict[str, str]
    tasks: tuple[Task, ...]
    stages: tuple[Stage, ...]
    parity: tuple[Parity, ...]
    lava: Lava | None
    quantisation: tuple[Quantisation, ...]

    def task(self, name: str) -> Task | None:
        """The task `name`, when it was run."""
        return next((task for task in self.tasks if task.name == name), None)


TASKS = {"digits": "Handwritten digits", "timing": "Spike timing"}


def is_run(folder: Path) -> bool:
    """Whether `folder` looks like a run folder."""
    return (folder / "config.toml").is_file()


def is_demo(folder: Path) -> bool:
    """Whether `folder` looks like a demo folder."""
    return (folder / "demo.json").is_file()


def read_run(folder: Path) -> Run:
    """Read a run folder; an unfinished run is read as far as it got. Raises UserError when it is damaged."""
    path = folder / "config.toml"
    config = load_config(path)
    return Run(
        folder=folder,
        config=config,
        text=path.read_text(encoding="utf-8"),
        epochs=tuple(read_epochs(folder)),
        summary=read_summary(folder) if (folder / SUMMARY).is_file() else None,
    )


def read_demo(folder: Path) -> Demo:
    """Read a demo folder; parts that are missing stay empty. Raises UserError when one is damaged."""
    fields = read_object(folder / "demo.json")
    tasks = tuple(
        Task(name, title, tuple(_row(folder, row) for row in fields.entries(name)))
        for name, title in TASKS.items()
        if name in fields
    )
    lava = fields.entry("lava")
    return Demo(
        folder=folder,
        command=fields.text("command"),
        versions=fields.entry("versions").texts(),
        tasks=tuple(task for task in tasks if task.rows),
        stages=tuple(
            Stage(s.text("stage"), s.share("accuracy"), s.count("samples")) for s in fields.entries("stages")
        ),
        parity=tuple(_parity(row) for row in fields.entries("parity")),
        lava=Lava(lava.flag("ok"), lava.text("message"), lava.number("seconds"))
        if "lava" in fields
        else None,
        quantisation=tuple(_quantisation(row) for row in fields.entries("quantisation")),
    )


def _row(folder: Path, fields: Fields) -> Row:
    name = fields.text("folder")
    run = folder / name
    return Row(
        rule=fields.text("rule", "unknown rule"),
        test_accuracy=fields.share("test_accuracy"),
        validation_accuracy=fields.share("validation_accuracy"),
        seconds=fields.number("seconds"),
        peak_mib=fields.number("peak_mib"),
        firing_rate=fields.numbers("firing_rate"),
        run=read_run(run) if name and is_run(run) else None,
    )


def _parity(row: Fields) -> Parity:
    return Parity(
        population=row.text("population"),
        samples=row.count("samples"),
        steps=row.count("steps"),
        spikes_reference=row.count("spikes_reference"),
        spikes_lava=row.count("spikes_lava"),
        differences=row.count("differences"),
    )


def _quantisation(row: Fields) -> Quantisation:
    return Quantisation(
        layer=row.text("layer"),
        bits=row.count("bits"),
        scale=row.number("scale"),
        saturated=row.count("saturated"),
        weight_error=row.number("weight_error"),
        spike_agreement=row.share("spike_agreement"),
    )
