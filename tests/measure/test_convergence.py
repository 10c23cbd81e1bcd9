"""Epochs until a level that all learning curves reached."""

from neurofdfa.measure.convergence import epochs_until, reached_by_all


def test_the_level_is_what_the_worst_curve_reached() -> None:
    assert reached_by_all([[0.1, 0.8, 0.7], [0.3, 0.5, 0.6], []]) == 0.6
    assert reached_by_all([]) is None


def test_the_first_epoch_at_a_level_counts() -> None:
    assert epochs_until(0.6, [0.1, 0.8, 0.5]) == 2
    assert epochs_until(0.6, [0.6]) == 1
    assert epochs_until(0.9, [0.6]) is None
