"""Rules side by side on one task: every rule with the same seeds, so that differences are paired."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurofdfa.errors import UserError, unknown
from neurofdfa.io import locked, make_folder
from neurofdfa.lab.build import build_data, build_network, build_trainer
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.document import versions
from neurofdfa.lab.record import Summary
from neurofdfa.lab.results import COMPARISON, Comparison, FailedRun, FinishedRun, RuleSummary
from neurofdfa.lab.run_or_resume import Failure, Job, Outcome, finished_run
from neurofdfa.lab.statistics import Difference, epochs_until, holm, mean, paired, reached_by_all
from neurofdfa.lab.workers import Progress, outcomes
from neurofdfa.rules import RULES, rule_named

ALIGNMENT_SAMPLES = 16
"""Validation samples on which the angle to the exact gradient is measured where the config does not say."""


@dataclass(frozen=True)
class Plan:
    """rules in the order of the table, the first is what the others are compared with; own: settings of
    single rules, by rule.
    """

    base: RunConfig
    rules: tuple[str, ...]
    seeds: tuple[int, ...]
    own: Mapping[str, Mapping[str, Any]]

    def config(self, rule: str, seed: int) -> RunConfig:
        """The config of one run; raises `UserError` when a setting does not fit."""
        settings = {"rule.name": rule, "seed": seed} | dict(self.own.get(rule, {}))
        config = self.base.with_settings(settings)
        if rule_named(rule, **config.rule.options).through_time is not None:
            # What only local rules can follow; the gradient's angle to itself says nothing.
            return config.with_settings({"training.alignment_samples": 0})
        if config.training.alignment_samples == 0:
            return config.with_settings({"training.alignment_samples": ALIGNMENT_SAMPLES})
        return config


def plan(
    base: RunConfig, rules: Sequence[str], seeds: Sequence[int], own: Mapping[str, Mapping[str, Any]]
) -> Plan:
    """Check what is asked before anything runs; raises `UserError`."""
    for rule in (*rules, *own):
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
    for names, what in ((rules, "rule"), (seeds, "seed")):
        if not names:
            raise UserError(f"a comparison needs at least one {what}")
        if len(set(names)) < len(names):
            raise UserError(f"a {what} is listed twice: {', '.join(str(name) for name in names)}")
    if foreign := own.keys() - set(rules):
        raise UserError(
            f"settings for '{sorted(foreign)[0]}', which is not among the rules {', '.join(rules)}"
        )
    made = Plan(base, tuple(rules), tuple(seeds), own)
    configs = [made.config(rule, seeds[0]) for rule in rules]
    data = build_data(configs[0].data, seeds[0])
    for config in configs:
        network = build_network(config.network, data.n_in, data.n_out, config.seed, data.shape)
        build_trainer(config, network, data.answer_from)
    return made


def compare(
    made: Plan,
    folder: str | Path,
    *,
    command: str = "",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run what is not finished yet and write comparison.json; returns what is in it.

    Runs lie in `folder/<rule>-s<seed>`. A failed run is kept with its reason and leaves its row with one
    seed less. Raises `UserError` when all runs of all rules fail, or another process works in `folder`.
    """
    folder = Path(folder)
    jobs = {
        (rule, seed): Job(
            f"{rule} seed {seed}", made.config(rule, seed), folder / f"{rule}-s{seed}", command, reuse=True
        )
        for seed in made.seeds
        for rule in made.rules
    }
    make_folder(folder)
    with locked(folder, busy=f"another process compares in {folder}: wait for it, or choose another --out"):
        found: dict[str, Outcome] = {}
        with closing(outcomes(list(jobs.values()), workers, progress)) as finished:
            for job, outcome in finished:
                found[job.name] = outcome
        document = _document(made, {key: (job, found[job.name]) for key, job in jobs.items()}, command)
        document.write(folder / COMPARISON)
    return document


def _document(made: Plan, ran: Mapping[tuple[str, int], tuple[Job, Outcome]], command: str) -> Comparison:
    reasons = [outcome.reason for _, outcome in ran.values() if isinstance(outcome, Failure)]
    if len(reasons) == len(ran):
        raise UserError(f"every run failed, the first because: {reasons[0]}")
    found = {rule: _finished(rule, made.seeds, ran) for rule in made.rules}
    level = reached_by_all([run.result.curve for runs, _ in found.values() for run in runs])
    tests = [{run.seed: run.result.test_accuracy for run in runs} for runs, _ in found.values()]
    differences: list[Difference | None] = [None] + [paired(test, tests[0]) for test in tests[1:]]
    adjusted = holm([one.p_t if one else None for one in differences])
    rows = tuple(
        RuleSummary.of(
            runs,
            failed,
            rule=rule,
            difference=None if difference is None else replace(difference, p_holm=p),
            **_convergence(runs, level),
        )
        for (rule, (runs, failed)), difference, p in zip(found.items(), differences, adjusted, strict=True)
    )
    return Comparison(
        command=command,
        versions=versions(),
        data=made.config(made.rules[0], made.seeds[0]).data.name,
        reference=made.rules[0],
        seeds=made.seeds,
        level=level,
        rows=rows,
    )


def _finished(
    rule: str, seeds: Sequence[int], ran: Mapping[tuple[str, int], tuple[Job, Outcome]]
) -> tuple[list[FinishedRun], list[FailedRun]]:
    found: list[FinishedRun] = []
    failed: list[FailedRun] = []
    for seed in seeds:
        job, outcome = ran[rule, seed]
        if isinstance(outcome, Summary):
            found.append(finished_run(outcome, job.folder, job.folder.name))
        else:
            failed.append(FailedRun(seed=seed, reason=outcome.reason))
    return found, failed


def _convergence(runs: Sequence[FinishedRun], level: float | None) -> dict[str, float | None]:
    """Means over seeds of the epochs and training samples until the level that all runs reached."""
    if level is None:
        return {"epochs_to_level": None, "samples_to_level": None}
    results = [run.result for run in runs]
    epochs = [
        (until, r.train_samples or 0) for r in results if (until := epochs_until(level, r.curve)) is not None
    ]
    return {
        "epochs_to_level": mean([until for until, _ in epochs]),
        "samples_to_level": mean([until * samples for until, samples in epochs]),
    }
