"""One function for learning on the chip, whatever executes it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import IntArray, Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.learning.integer_learner import learn_in_integers
from neurofdfa_hardware.learning.plasticity import Labels, Learned, LearningRule, Spikes, chain, check

LearningBackend = Literal["fixed-point", "lava"]


def learn(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: Sequence[IntArray],
    rule: LearningRule | None = None,
    *,
    rest: Sequence[IntArray] | None = None,
    backend: LearningBackend = "fixed-point",
    history: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Learned:
    """Present uint8 `[T, N, n_in]` one after the other with their labels `[N]` and let the chip learn.

    feedback: one B per hidden layer, even integers `[n_hidden, n_out]`; see `feedback_of`, `random_feedback`
    and `on_grid`. rest: the mean trace of every connection's sources, see `mean_traces`; none is taken off
    without it. backend: "fixed-point" is the integer reference, which any Python runs; "lava" does the same
    inside Intel Lava, and the two give equal numbers, bit for bit. history: keep the weights after every
    sample. progress: called with the fraction that is done.
    Raises `HardwareError` for a program of another form, for settings that do not fit the chip and for sums
    that leave 24 bits; with Lava the errors of `neurofdfa_hardware.lava.errors`.
    """
    rule = rule or LearningRule()
    if rest is None:
        rest = tuple(np.zeros(dense(c.weight).shape[1], np.int64) for c in chain(program))
    check(program, spikes, labels, feedback, rest, rule)
    settings: Any = {"history": history, "progress": progress}
    if backend == "lava":
        from neurofdfa_hardware.lava.learning import learn_in_lava  # starts processes: only when asked for

        return learn_in_lava(program, spikes, labels, feedback, rest, rule, **settings)
    if backend != "fixed-point":
        raise HardwareError(f"unknown backend {backend!r} for learning: choose fixed-point or lava")
    return learn_in_integers(program, spikes, labels, feedback, rest, rule, **settings)
