"""A sweep: every point of a study with every seed, in a folder from which it resumes after anything."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from neurofdfa.errors import UserError
from neurofdfa.io import locked, make_folder, write_text
from neurofdfa.lab import cluster, workers
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.document import versions
from neurofdfa.lab.ledger import NAME as LEDGER
from neurofdfa.lab.ledger import Ledger, Trial, canonical
from neurofdfa.lab.results import SWEEP, FailedRun, FinishedRun, PointSummary, Sweep
from neurofdfa.lab.run_or_resume import Failure, Job, Outcome, finished_run, one_line
from neurofdfa.lab.search import Searcher
from neurofdfa.lab.space import Settings, Study
from neurofdfa.lab.statistics import mean
from neurofdfa.lab.study_file import read_study

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

    ledger: Path
    fingerprint: str
    document: Sweep

    @property
    def done(self) -> int:
        """Runs that have a result."""
        return self.document.done

    @property
    def failed(self) -> int:
        """Runs that have none."""
        return self.document.failed


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
class _Work:
    study: Study
    folder: Path
    ledger: Ledger
    engine: _Engine
    workers: int | None
    command: str
    on_state: OnState | None


def ablate(
    file: str | Path,
    folder: str | Path,
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
    between calls; trials that it no longer spans are refused. Raises `UserError`, before the first trial
    where one of its settings is none, or does not fit the rule.
    """
    file, folder = Path(file), Path(folder)
    if engine not in ENGINES:
        raise UserError(f"unknown engine '{engine}': choose one of {', '.join(ENGINES)}")
    study = read_study(file).rooted(data_root)
    if study.search is None:
        _check_points(study, file)
    _open(folder)
    busy = f"another process works on {folder}: wait for it, or choose another --out"
    with locked(folder, busy=busy), Ledger(folder / LEDGER) as ledger:
        _refuse_another(study, folder, ledger, data_root)
        write_text(folder / STUDY, study.text)
        ledger.release(failed=retry_failed)
        run = cluster.outcomes if engine == "ray" else workers.outcomes
        work = _Work(study, folder, ledger, run, workers_at_once, command, on_state)
        if study.search is not None:
            _search(work)
        elif study.chosen:
            _choose(work)
        else:
            _run(work, _trials(study, study.points(), 0))
        return _result(work)


def _check_points(study: Study, file: Path) -> None:
    """Build the config and the rule of every point, so that what cannot run is told before anything runs."""
    from neurofdfa.rules import rule_named

    rules: set[str] = set()
    for point in study.points():
        said = ", ".join(f"{key} = {value!r}" for key, value in point.items())
        try:
            config = RunConfig().with_settings(study.settings(point))
            known = canonical(config.rule.model_dump(mode="json"))
            if known not in rules:
                rule_named(config.rule.name, **config.rule.options)
            rules.add(known)
        except UserError as error:
            reason = str(error).removeprefix("config: ")
            raise UserError(f"{file}: the point with {said}: {reason}; nothing has been run") from error


def _open(folder: Path) -> None:
    make_folder(folder)
    if any(folder.iterdir()) and not (folder / LEDGER).exists():
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
            trial = Trial(
                number=number, hash=digest, point=point, seed=seed, settings=settings,
                folder=f"runs/{digest[:12]}",
            )  # fmt: skip
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


def _search(work: _Work) -> None:
    study = work.study
    assert study.search is not None
    searcher = Searcher(study)
    seen: set[str] = set()
    for first in range(0, study.trials, study.search.batch):
        points = searcher.ask(min(study.search.batch, study.trials - first))
        batch = [(t, config) for t, config in _trials(study, points, first) if t.hash not in seen]
        seen |= {trial.hash for trial, _ in batch}
        _run(work, batch)
        found = {trial.hash: trial for trial in work.ledger.trials()}
        scores: list[float | None] = []
        for settings in points:
            runs = [found[trial.hash] for trial, _ in _trials(study, [settings], 0)]
            kept = [run.result.validation_accuracy for run in runs if run.result is not None]
            scores.append(mean(kept) if len(kept) == len(runs) else None)
        searcher.tell(scores)


def _choose(work: _Work) -> None:
    """Run every point with the first seed, and with the others those points that are best by it."""
    study = work.study
    batch = _trials(study, study.points(), 0)
    _run(work, [(trial, config) for trial, config in batch if trial.seed == study.seeds[0]])
    kept = kept_points(work.ledger.trials(), study)
    _run(work, [(trial, config) for trial, config in batch if trial.point in kept])


def _run(work: _Work, batch: Sequence[tuple[Trial, RunConfig | Failure]]) -> None:
    """Do what the ledger says is still to do of a batch."""
    ledger, folder = work.ledger, work.folder
    ledger.expect([trial for trial, _ in batch])
    waiting = {trial.hash for trial in ledger.trials() if trial.status == "waiting"}
    jobs: list[Job] = []
    for trial, config in batch:
        if trial.hash not in waiting:
            continue
        if isinstance(config, Failure):
            ledger.fail(trial.hash, config.reason)
            _tell(work, trial.hash)
        else:
            jobs.append(Job(trial.hash, config, (folder / trial.folder).absolute(), work.command, reuse=True))
    _tell(work, None)
    if not jobs:
        return
    with closing(work.engine(jobs, work.workers, None, lambda job: ledger.start(job.name))) as finished:
        for job, outcome in finished:
            if isinstance(outcome, Failure):
                ledger.fail(job.name, outcome.reason)
            else:
                found = finished_run(outcome, job.folder, job.folder.name)
                ledger.finish(job.name, found.result, found.measured)
            _tell(work, job.name)


def _tell(work: _Work, trial: str | None) -> None:
    if work.on_state is None:
        return
    trials = work.ledger.trials()
    study = work.study
    total = len(trials)
    if study.search is not None:
        total = study.trials * len(study.seeds)
    elif study.chosen:
        total = max(total, _planned(study))
    done, failed = _count(trials, "done"), _count(trials, "failed")
    work.on_state(State(done, failed, total), next((t for t in trials if t.hash == trial), None))


def _count(trials: Sequence[Trial], status: str) -> int:
    return sum(trial.status == status for trial in trials)


def _result(work: _Work) -> Result:
    trials, study = work.ledger.trials(), work.study
    kept = kept_points(trials, study) if study.chosen else None
    rows = _rows(trials, kept)
    # accuracies of different tasks have no best
    whole = [] if study.tasks else [row for row in rows if row.n == len(study.seeds)]
    best = max(whole, key=lambda row: (row.validation_mean or 0.0, -row.point), default=None)
    document = Sweep(
        command=work.command,
        versions=versions(),
        name=study.name,
        seeds=study.seeds,
        varied=study.varied,
        choose=study.chosen,
        done=_count(trials, "done"),
        failed=_count(trials, "failed"),
        best=None if best is None else best.point,
        rows=rows,
    )
    document.write(work.folder / SWEEP)
    return Result(work.ledger.path, work.ledger.fingerprint(), document)


def _rows(trials: Sequence[Trial], kept: set[int] | None) -> tuple[PointSummary, ...]:
    """One row per point, in the study's order."""
    points: dict[int, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    return tuple(
        PointSummary.of(
            [
                FinishedRun(seed=t.seed, folder=t.folder, result=t.result, measured=t.measured)
                for t in group
                if t.result is not None and t.measured is not None
            ],
            [FailedRun(seed=t.seed, reason=t.reason or "") for t in group if t.status == "failed"],
            point=point,
            settings=group[0].settings,
            chosen=None if kept is None else point in kept,
        )
        for point, group in points.items()
    )


def kept_points(trials: Sequence[Trial], study: Study) -> set[int]:
    """What the first seed decides for the others, on validation data alone: of the points that differ in what
    is chosen alone, the one with the best validation accuracy (of equal ones the first); none where all
    failed.
    """
    best: dict[str, tuple[float, int]] = {}
    for trial in trials:
        if trial.seed == study.seeds[0] and trial.result is not None:
            group, found = _held(study, trial.settings), trial.result.validation_accuracy
            if group not in best or found > best[group][0]:
                best[group] = found, trial.point
    return {point for _, point in best.values()}


def _planned(study: Study) -> int:
    """Runs of a study that chooses: every point with the first seed, one of each group with the others."""
    points = study.points()
    groups = {_held(study, point) for point in points}
    return len(points) + len(groups) * (len(study.seeds) - 1)


def _held(study: Study, point: Settings) -> str:
    return canonical({key: value for key, value in point.items() if key not in study.chosen})
