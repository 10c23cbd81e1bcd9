"""A sweep: every point of a study with every seed, in a folder from which it resumes after anything."""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from neurofdfa.errors import UserError
from neurofdfa.io import write_json, write_text
from neurofdfa.lab import cluster, workers
from neurofdfa.lab.choice import kept_points, planned
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.ledger import NAME as LEDGER
from neurofdfa.lab.ledger import Ledger, Trial, canonical
from neurofdfa.lab.load_run import versions
from neurofdfa.lab.outcome import Found, mean, measured_of, result_of, row_of
from neurofdfa.lab.run_or_resume import Failure, Job, Outcome, locked, one_line
from neurofdfa.lab.search import Searcher
from neurofdfa.lab.space import Settings, Study
from neurofdfa.lab.study_file import read_study

NAME = "ablation.json"
STUDY = "study.toml"
ENGINES = ("local", "ray")


class State(NamedTuple):
    """How far a sweep is."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class Result:
    """What a sweep found; document: what ablation.json says."""

    done: int
    failed: int
    ledger: Path
    fingerprint: str
    document: dict[str, Any]


OnState = Callable[[State, Trial | None], None]


class _Engine(Protocol):
    def __call__(
        self,
        jobs: Sequence[Job],
        workers: int | None = None,
        progress: workers.Progress | None = None,
        on_start: workers.OnStart | None = None,
    ) -> Generator[tuple[Job, Outcome]]: ...


@dataclass(frozen=True)
class _Sweep:
    study: Study
    folder: Path
    ledger: Ledger
    engine: _Engine
    workers: int | None
    command: str
    on_state: OnState | None


def ablate(
    file: Path,
    folder: Path,
    *,
    workers_at_once: int | None = None,
    engine: str = "local",
    retry_failed: bool = False,
    command: str = "",
    on_state: OnState | None = None,
    data_root: Path | None = None,
) -> Result:
    """Run the study in `file` into `folder`, or go on with it.

    on_state hears of every trial that ends, and without a trial whenever runs are about to start. data_root:
    the folder of the data set's files, in place of what the study says.

    Finished trials are never run again, failed ones only with `retry_failed`. A study may be extended
    between calls; trials that it no longer spans are refused. Raises `UserError`.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine '{engine}': choose one of {', '.join(ENGINES)}")
    study = read_study(file).rooted(data_root)
    _open(folder)
    busy = f"another process works on {folder}: wait for it, or choose another --out"
    with locked(folder, busy=busy), Ledger(folder / LEDGER) as ledger:
        _refuse_another(study, folder, ledger, data_root)
        write_text(folder / STUDY, study.text)
        ledger.release(failed=retry_failed)
        run = cluster.outcomes if engine == "ray" else workers.outcomes
        sweep = _Sweep(study, folder, ledger, run, workers_at_once, command, on_state)
        if study.search is not None:
            _search(sweep)
        elif study.chosen:
            _choose(sweep)
        else:
            _run(sweep, _trials(study, study.points(), 0))
        return _result(sweep)


def _open(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = any(folder.iterdir()) and not (folder / LEDGER).exists()
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}") from error
    if foreign:
        raise UserError(f"{folder} is neither empty nor the folder of a sweep: choose another --out")


def _refuse_another(study: Study, folder: Path, ledger: Ledger, data_root: Path | None) -> None:
    """Keep one study per folder: an extended one may go on, another one may not."""
    known = {trial.hash for trial in ledger.trials()}
    if not known:
        return
    if study.search is None:
        stale = known - {trial.hash for trial, _ in _trials(study, study.points(), 0)}
        if stale:
            raise UserError(
                f"{folder} holds {len(stale)} trial(s) that the study no longer spans: extend a study, "
                "or choose another --out"
            )
    else:
        before = read_study(folder / STUDY).rooted(data_root)
        fixed = {"trials": 0, "name": ""}
        if replace(before, **fixed) != replace(study, **fixed) or before.trials > study.trials:
            raise UserError(
                f"{folder} holds another search: change nothing but more trials, or choose another --out"
            )


def _trials(study: Study, points: Sequence[Settings], first: int) -> list[tuple[Trial, RunConfig | Failure]]:
    """Trials of some points, `first` the index of the first one; equal configs once."""
    trials: dict[str, tuple[Trial, RunConfig | Failure]] = {}
    for point, settings in enumerate(points, first):
        for place, seed in enumerate(study.seeds):
            wanted = study.settings(settings) | {"seed": seed}
            config = _config(wanted)
            tree = wanted if isinstance(config, Failure) else _identity(config)
            digest = hashlib.sha256(canonical(tree).encode()).hexdigest()
            number = point * len(study.seeds) + place
            trial = Trial(number, digest, point, seed, settings, f"runs/{digest[:12]}")
            trials.setdefault(digest, (trial, config))
    return list(trials.values())


def _identity(config: RunConfig) -> dict[str, Any]:
    """What makes a run this run. Without defaults: a setting that a later version adds changes nothing."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _config(settings: Settings) -> RunConfig | Failure:
    try:
        return RunConfig().with_settings(settings)
    except UserError as error:
        return Failure(one_line(str(error)))
    except (AttributeError, TypeError):
        return Failure("a setting lies below one that is no table")


def _search(sweep: _Sweep) -> None:
    study = sweep.study
    assert study.search is not None
    searcher = Searcher(study)
    seen: set[str] = set()
    for first in range(0, study.trials, study.search.batch):
        points = searcher.ask(min(study.search.batch, study.trials - first))
        batch = [(t, config) for t, config in _trials(study, points, first) if t.hash not in seen]
        seen |= {trial.hash for trial, _ in batch}
        _run(sweep, batch)
        found = {trial.hash: trial for trial in sweep.ledger.trials()}
        scores: list[float | None] = []
        for settings in points:
            runs = [found[trial.hash] for trial, _ in _trials(study, [settings], 0)]
            kept = [run.result["validation_accuracy"] for run in runs if run.result is not None]
            scores.append(mean(kept) if len(kept) == len(runs) else None)
        searcher.tell(scores)


def _choose(sweep: _Sweep) -> None:
    """Run every point with the first seed, and with the others those points that are best by it."""
    study = sweep.study
    batch = _trials(study, study.points(), 0)
    _run(sweep, [(trial, config) for trial, config in batch if trial.seed == study.seeds[0]])
    kept = kept_points(sweep.ledger.trials(), study)
    _run(sweep, [(trial, config) for trial, config in batch if trial.point in kept])


def _run(sweep: _Sweep, batch: Sequence[tuple[Trial, RunConfig | Failure]]) -> None:
    """Do what the ledger says is still to do of a batch."""
    ledger, folder = sweep.ledger, sweep.folder
    ledger.expect([trial for trial, _ in batch])
    waiting = {trial.hash for trial in ledger.trials() if trial.status == "waiting"}
    jobs: list[Job] = []
    for trial, config in batch:
        if trial.hash not in waiting:
            continue
        if isinstance(config, Failure):
            ledger.fail(trial.hash, config.reason)
            _tell(sweep, trial.hash)
        else:
            jobs.append(
                Job(trial.hash, config, (folder / trial.folder).absolute(), sweep.command, reuse=True)
            )
    _tell(sweep, None)
    if not jobs:
        return
    with closing(sweep.engine(jobs, sweep.workers, None, lambda job: ledger.start(job.name))) as finished:
        for job, outcome in finished:
            if isinstance(outcome, Failure):
                ledger.fail(job.name, outcome.reason)
            else:
                ledger.finish(job.name, result_of(outcome, job.folder), measured_of(outcome))
            _tell(sweep, job.name)


def _tell(sweep: _Sweep, trial: str | None) -> None:
    if sweep.on_state is None:
        return
    trials = sweep.ledger.trials()
    study = sweep.study
    total = len(trials)
    if study.search is not None:
        total = study.trials * len(study.seeds)
    elif study.chosen:
        total = max(total, planned(study))
    done, failed = _count(trials, "done"), _count(trials, "failed")
    sweep.on_state(State(done, failed, total), next((t for t in trials if t.hash == trial), None))


def _count(trials: Sequence[Trial], status: str) -> int:
    return sum(trial.status == status for trial in trials)


def _result(sweep: _Sweep) -> Result:
    trials, study = sweep.ledger.trials(), sweep.study
    rows = _rows(trials)
    if study.chosen:
        kept = kept_points(trials, study)
        rows = [row | {"chosen": row["point"] in kept} for row in rows]
    # accuracies of different tasks have no best
    whole = [] if study.tasks else [row for row in rows if row["n"] == len(study.seeds)]
    best = max(whole, key=lambda row: (row["validation_mean"], -row["point"]), default=None)
    document: dict[str, Any] = {
        "command": sweep.command,
        "versions": versions(),
        "name": study.name,
        "seeds": list(study.seeds),
        "varied": list(study.varied),
        "choose": list(study.chosen),
        "done": _count(trials, "done"),
        "failed": _count(trials, "failed"),
        "best": None if best is None else best["point"],
        "rows": rows,
    }
    write_json(sweep.folder / NAME, document)
    return Result(
        document["done"],
        document["failed"],
        sweep.ledger.path,
        sweep.ledger.fingerprint(),
        document,
    )


def _rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """One row per point, in the study's order."""
    points: dict[int, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    return [
        {"point": point, "settings": dict(group[0].settings)} | row_of(_found(group), _failed(group))
        for point, group in points.items()
    ]


def _found(group: Sequence[Trial]) -> list[Found]:
    return [
        Found(trial.seed, trial.folder, trial.result, trial.measured or {})
        for trial in group
        if trial.status == "done" and trial.result is not None
    ]


def _failed(group: Sequence[Trial]) -> list[tuple[int, str]]:
    return [(trial.seed, trial.reason or "") for trial in group if trial.status == "failed"]


def best_row(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point with the highest mean validation accuracy among those whose seeds all ran."""
    return next((row for row in document["rows"] if row["point"] == document["best"]), None)
