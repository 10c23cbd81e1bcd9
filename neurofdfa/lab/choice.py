"""What the first seed decides for the others: `[choose]` of a study, on validation data alone."""

from collections.abc import Sequence

from neurofdfa.lab.ledger import Trial, canonical
from neurofdfa.lab.space import Settings, Study


def kept_points(trials: Sequence[Trial], study: Study) -> set[int]:
    """Of the points that differ in what is chosen alone, the one with the best validation accuracy of the
    first seed (of equal ones the first); none where all failed.
    """
    best: dict[str, tuple[float, int]] = {}
    for trial in trials:
        if trial.seed == study.seeds[0] and trial.result is not None:
            group, found = _held(study, trial.settings), float(trial.result["validation_accuracy"])
            if group not in best or found > best[group][0]:
                best[group] = found, trial.point
    return {point for _, point in best.values()}


def planned(study: Study) -> int:
    """Runs of a study that chooses: every point with the first seed, one of each group with the others."""
    points = study.points()
    groups = {_held(study, point) for point in points}
    return len(points) + len(groups) * (len(study.seeds) - 1)


def _held(study: Study, point: Settings) -> str:
    return canonical({key: value for key, value in point.items() if key not in study.chosen})
