"""How the demo's settings were chosen: same-size sweeps for every rule, on validation data alone.

    python benchmarks/studies/demo_settings.py digits --out digits.json      # sweep, digits
    python benchmarks/studies/demo_settings.py timing --out timing.json      # sweep, spike timing
    python benchmarks/studies/demo_settings.py feedback --out feedback.json  # FDFA's own settings
    python benchmarks/studies/demo_settings.py final --out final.json        # the demo's settings: test data

A sweep trains every point of its grid with three seeds; the point with the best mean validation accuracy
after the last epoch wins (the lower loss, if several are equal). `--seeds 1` is quicker; `--top N` gives the
N best points of the first seed alone the other seeds. Every rule gets the same grid, save that readout-only
has no hidden layer to regulate. The winners are written into `neurofdfa/lab/settings.py` by hand; `final`
trains those with three seeds as the demo does and alone opens the test split. Every finished run is kept in
the output file, and a second call goes on from there.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from neurofdfa.data.dataset import Dataset
from neurofdfa.io import read_json, write_json
from neurofdfa.lab.build import build_data, build_network, build_schedule, build_trainer, settle_rates
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.run import train
from neurofdfa.lab.settings import DIGITS, TIMING
from neurofdfa.nn.network import Network

Settings = dict[str, Any]
SEEDS = (0, 1, 2)
RULES = ("fdfa", "bptt", "dfa", "dkp", "readout-only")

GRIDS: dict[str, dict[str, list[Any]]] = {
    "digits": {"training.rate_strength": [0.03, 0.0], "training.lr": [5e-3, 1e-2, 2e-2, 4e-2]},
    "timing": {"training.lr": [2e-2, 4e-2, 8e-2, 1.6e-1, 3.2e-1]},
}
RATE = "training.rate_strength"
DRAWS = 8
"""Encoder noise: one draw of 360 samples is off by up to a point, as much as settings differ."""

FEEDBACK: dict[str, list[Any]] = {
    "kernel": ["innovation", "output"],
    "momentum": [0.005, 0.02, 0.1],
    "fraction": [0.125, 1.0],
}
TASKS = {"digits": DIGITS, "timing": TIMING}


def base_of(task: str, rule: str) -> Settings:
    """The demo's settings of a rule; a rule that the demo leaves out gets FDFA's network and data."""
    chosen = dict(TASKS[task].get(rule, TASKS[task]["dfa"]))
    chosen |= {"rule.name": rule, "training.alignment_samples": 0}
    return chosen


def validate(config: RunConfig) -> dict[str, Any]:
    """Train once and look at the validation split after the last epoch."""
    data = build_data(config.data, config.seed)
    network = build_network(config.network, data.n_in, data.n_out, config.seed, data.shape)
    settle_rates(network, data, config.network.rate)
    learner = build_trainer(config, network)
    generator = torch.Generator().manual_seed(config.seed + 2)
    training = config.training
    per_epoch = -(-len(data.train) // training.batch)
    started = time.process_time()
    schedule = build_schedule(learner, training, training.epochs * per_epoch)
    for _ in range(training.epochs):
        for x, target in data.train.batches(training.batch, generator=generator):
            learner.step(x, target)
            schedule.step()
    seconds = time.process_time() - started
    return measure(network, data) | {
        "cpu_seconds": seconds,
        "cosine": cosine(learner),
    }


@torch.no_grad()
def measure(network: Network, data: Dataset) -> dict[str, Any]:
    """Accuracy and loss of the scores, averaged over draws of the encoder's noise; rates of the last draw."""
    generator = torch.Generator().manual_seed(0)
    size, accuracy, loss = len(data.validation), [], []
    rates = torch.zeros(len(network.hidden))
    for _ in range(DRAWS if data.encode is not None else 1):
        x, target = next(data.validation.iterate(size, generator, shuffle=False))
        seen = network.run(x)
        scores = network.decode(seen.y)
        accuracy.append(float((scores.argmax(1) == target).float().mean()))
        loss.append(float(torch.nn.functional.cross_entropy(scores, target)))
        rates = torch.stack([spikes.mean() for spikes in seen.spikes])
    return {"validation": mean(accuracy), "loss": mean(loss), "rates": rates.tolist()}


def cosine(learner: Any) -> float | None:
    """Between the last layer's feedback B and W_oᵀ."""
    matrices = getattr(learner.rule_state, "matrices", ())
    if not matrices:
        return None
    weight = learner.network.readout.synapse.weight.detach()
    return float(torch.nn.functional.cosine_similarity(matrices[-1].flatten(), weight.t().flatten(), dim=0))


class Ledger:
    """Runs by the settings that made them, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[dict[str, Any]] = read_json(path)["runs"] if path.exists() else []

    def run(self, task: str, rule: str, varied: Settings, seed: int, base: Settings) -> dict[str, Any]:
        """Train, unless this has been done."""
        key = json.loads(
            json.dumps({"task": task, "rule": rule, "varied": varied, "seed": seed, "base": base})
        )
        for done in self.runs:
            if all(done[name] == value for name, value in key.items()):
                return done
        done = key | validate(RunConfig(seed=seed).with_settings(base | varied))
        self.runs.append(done)
        write_json(self.path, {"torch": torch.__version__, "runs": self.runs})
        print(
            f"{rule:13s} seed {seed} {json.dumps(varied):66s} {100 * done['validation']:6.2f} %"
            f"  loss {done['loss']:.3f}  {done['cpu_seconds']:5.1f} s",
            flush=True,
        )
        return done


def points(grid: dict[str, list[Any]]) -> list[Settings]:
    """Every combination."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def sweep(task: str, rules: list[str], seeds: int, top: int | None, ledger: Ledger) -> None:
    """Every rule over the same grid with the first seed, the `top` points (None: all) with all seeds."""
    for rule in rules:
        grid = [p for p in points(GRIDS[task]) if rule != "readout-only" or not p.get(RATE)]
        base = {k: v for k, v in base_of(task, rule).items() if k not in GRIDS[task]}
        first = [(ledger.run(task, rule, point, SEEDS[0], base), point) for point in grid]
        first.sort(key=lambda pair: _order([pair[0]]), reverse=True)
        trained = [
            ([ledger.run(task, rule, point, seed, base) for seed in SEEDS[:seeds]], point)
            for _, point in first[:top]
        ]
        runs, point = max(trained, key=lambda pair: _order(pair[0]))
        report(f"{task} {rule} {json.dumps(point)}", runs)


def _order(runs: list[dict[str, Any]]) -> tuple[float, float]:
    return mean(run["validation"] for run in runs), -mean(run["loss"] for run in runs)


def feedback(ledger: Ledger) -> None:
    """Settings of FDFA's feedback on the timing task; everything else as in the demo."""
    base = base_of("timing", "fdfa")
    for point in points(FEEDBACK):
        runs = [ledger.run("timing", "fdfa", {"rule.options": point}, seed, base) for seed in SEEDS]
        report(json.dumps(point), runs)


def final(ledger: Ledger, rules: list[str], tasks: list[str]) -> None:
    """The demo's settings as the demo trains them: epoch chosen on validation, test opened once per seed."""
    for task, rule in itertools.product(tasks, rules):
        if rule not in TASKS[task]:
            continue
        for seed in SEEDS:
            settings = TASKS[task][rule] | {"training.alignment_samples": 0}
            key = json.loads(json.dumps({"task": task, "rule": rule, "seed": seed, "settings": settings}))
            if any(all(done[name] == value for name, value in key.items()) for done in ledger.runs):
                continue
            with tempfile.TemporaryDirectory() as folder:
                found = train(RunConfig(seed=seed).with_settings(settings), Path(folder) / "run")
            ledger.runs.append(
                key
                | {
                    "test": found.test_accuracy,
                    "validation": found.validation_accuracy,
                    "epoch": found.best_epoch,
                    "seconds": found.seconds,
                    "rates": found.firing_rate,
                }
            )
            write_json(ledger.path, {"torch": torch.__version__, "runs": ledger.runs})
        chosen = json.loads(json.dumps(TASKS[task][rule] | {"training.alignment_samples": 0}))
        runs = [r for r in ledger.runs if r["settings"] == chosen]
        report(f"{task} {rule}", runs, "validation", "test")


def report(name: str, runs: list[dict[str, Any]], *measures: str) -> None:
    """One line: mean ± sd over seeds."""
    for measure in measures or ("validation",):
        values = [100 * run[measure] for run in runs]
        spread = stdev(values) if len(values) > 1 else 0.0
        print(f"== {name}: {measure} {mean(values):.2f} ± {spread:.2f} %, seeds: {len(values)}", flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", choices=["digits", "timing", "feedback", "final"])
    parser.add_argument("--out", type=Path, required=True, help="JSON of all runs; kept and continued")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, choices=[1, 2, 3], default=3, help="seeds of a sweep")
    parser.add_argument("--top", type=int, help="points of a sweep that get all seeds (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger(arguments.out)
    if arguments.study == "feedback":
        feedback(ledger)
    elif arguments.study == "final":
        final(ledger, arguments.rules, arguments.tasks)
    else:
        sweep(arguments.study, arguments.rules, arguments.seeds, arguments.top, ledger)


if __name__ == "__main__":
    main()
