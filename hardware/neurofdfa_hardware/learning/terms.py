"""A learning rule's terms on the chip: their form, those that most rules share, and how exact traces are.

Traces have 7 bits and no sign, weights and tags 8 bits and a sign; decays are rounded stochastically.
Davies et al., IEEE Micro 38(1), 2018; lava-nc 0.10.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

TRACE_BITS = 7
WEIGHT_BITS = 8  # and a sign
TAG_BITS = 8  # and a sign
TRACE_MAX = 2**TRACE_BITS - 1
IMPULSE = 16  # of x1 in `neurofdfa_hardware.LearningRule`

Fit = Literal["fits", "approximated", "host", "impossible"]
_ORDER: tuple[Fit, ...] = ("fits", "approximated", "host", "impossible")


@dataclass(frozen=True)
class Term:
    """One term of a rule. how: what stands for it on the chip, or why nothing can. error: how far off.

    optional: off unless a setting of the rule asks for it.
    """

    term: str
    fit: Fit
    how: str
    error: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Lowering:
    """A rule on the learning engine.

    dw: change of the hidden synapses, in Lava's notation, with {rate} and {every} open; None when there is
    none. dt: of their tags. feedback_dw: of feedback synapses that learn. runs: how to run it here
    (settings of `neurofdfa_hardware.LearningRule`), None when this project has not built it.
    """

    rule: str
    terms: tuple[Term, ...]
    dw: str | None = None
    dt: str | None = None
    feedback_dw: str | None = None
    runs: dict[str, int] | None = None

    @property
    def fit(self) -> Fit:
        """That of its worst term, the optional ones left out."""
        return _ORDER[max(_ORDER.index(term.fit) for term in self.terms if not term.optional)]


@dataclass(frozen=True)
class Neurons:
    """What decides how well traces fit: decays of current, membrane and readout, steps per sample."""

    alpha: float = 0.0
    beta: float = 0.8
    kappa: float = 1.0
    steps: int = 16


SIGNED = "2^{rate}*u{every}*x1*y2 - 2^{rate}*u{every}*x1*y3"
# x1 is 64 + e, from the payload of a graded spike.
SIGNED_FEEDBACK = "2^{rate}*u{every}*(x1-64)*y1 - 2^{rate}*u{every}*w"

FEEDBACK = Term(
    "λ = B e",
    "fits",
    "a Dense from the embedded processor, 8 signed bits; e is sent as two payloads, 64 + e and 64, and the "
    "neuron takes the second off; it sends max(λ, 0) as y2, max(−λ, 0) as y3",
    f"B to 1/127 of its largest entry; the sum to {TRACE_MAX} levels of either sign after a right shift",
)
ERROR = Term(
    "e = ∂loss/∂y",
    "approximated",
    "no neuron has exp and a division: an embedded processor reads the readout's membranes at the sample's "
    "end and computes an integer softmax",
    "6 bits and a sign, once per sample: the error of the summed readout, not of every step",
)
PSI = Term(
    "ψ(u − θ)",
    "approximated",
    "traces do not see membranes: the neuron (`TaughtLIF`) counts the steps that its membrane spends in a "
    "window around the threshold, a box for the surrogate",
    "two levels per step instead of a curve; summed over the sample",
)
PRODUCT = Term(
    "Σ_t λ[t] · ψ[t] · ε[t]",
    "approximated",
    "one product per sample, λ · (Σ_t ψ) · x1 at the end: the sum of products becomes a product of "
    "sums; products of every step would need epochs of one step",
    "what ψ and the trace share in time is lost. With e, ψ and x1 as run here: cosine 0.96 to DFA's own "
    "update over 100 samples, 0.84 in one (64-64-10, digits, one network)",
)
STEP = Term(
    "Δw = −η · gradient",
    "approximated",
    f"η a power of two, plain descent, weights of {WEIGHT_BITS} bits and a sign, rounded stochastically",
    "at most one unit per update and right on average per synapse, but Lava draws one random number for all "
    "synapses of a connection; no momentum, no Adam: their moments have no place in a synapse",
)
READOUT = Term(
    "readout: e · trace", "fits", "the same rule, its third factor the error of its own neuron", None
)
TANGENTS = Term(
    "tangents u̇ = d u̇ + Wṡ, ṡ = ψ u̇",
    "impossible",
    "a second, signed, graded state per neuron that runs through the same weights and is multiplied by ψ: "
    "neurons send spikes, not derivatives",
)
TRANSPOSED = Term(
    "Wᵀ λ of the layer above",
    "impossible",
    "a synapse is read from its source only: the transposed weights of another layer are nowhere on the "
    "way. With one hidden layer the host can copy W_oᵀ into B, as it refreshes FDFA's",
)


def trace_term(n: Neurons, filtered: bool = True) -> Term:
    """The eligibility trace as x1 or x1 and x2, with its errors; filtered: by the readout's κ too."""
    decays = [d for d in (n.alpha, n.beta, *((n.kappa,) if filtered else ())) if d > 0]
    one, two = (kernel_error(decays, n.steps, traces) for traces in (1, 2))
    names = "α, β and κ" if filtered else "α and β"
    slowest = max(decays, default=0.0)
    held = spikes_held(slowest)
    full = f"at {held:.2g} spikes per step" if held else f"after {TRACE_MAX // IMPULSE} spikes"
    error = (
        f"kernel off by {one:.1%} with x1, {two:.1%} with x1 and x2 (α {n.alpha:g}, β {n.beta:g}"
        f"{f', κ {n.kappa:g}' if filtered else ''}, {n.steps} steps); rounding {trace_noise(slowest):.1%} of "
        f"a spike (impulse {IMPULSE}); full {full}"
    )
    return Term(
        f"trace ε: input spikes filtered by {names}",
        "approximated",
        "x1, a single exponential of 7 bits; x1 and x2 with a minus between them make two. The reset's part "
        "of d = β(1 − s⁻) belongs to the synapse, not to its source, and is left out",
        error,
    )


def hidden_terms(n: Neurons, *, filtered: bool = True) -> tuple[Term, ...]:
    """What all rules with λ_j · trace_i share."""
    return (trace_term(n, filtered), PSI, PRODUCT, STEP, READOUT)


def kernel(decays: Sequence[float], steps: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Response of a cascade of leaky filters to one spike, `[steps]`."""
    response = np.zeros(steps)
    response[0] = 1.0
    for decay in decays:
        for t in range(1, steps):
            response[t] += decay * response[t - 1]
    return response


def kernel_error(decays: Sequence[float], steps: int, traces: int) -> float:
    """Shard of a cascade's kernel that the best `traces` (1 or 2) exponentials miss: ‖h − fit‖ / ‖h‖."""
    wanted = kernel(decays, steps)
    grid = np.unique(np.concatenate([np.linspace(0.0, 1.0, 41), [d for d in decays if 0 < d <= 1]]))
    shapes = grid[:, None] ** np.arange(steps)
    best = 1.0
    for first in range(len(grid)):
        for second in range(first, len(grid)) if traces == 2 else (first,):
            basis = shapes[[first, second] if second != first else [first]].T
            rest = wanted - basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
            best = min(best, float(np.linalg.norm(rest) / np.linalg.norm(wanted)))
    return best


def trace_noise(decay: float, impulse: int = IMPULSE) -> float:
    """Standard deviation that stochastic rounding leaves on a trace, in units of one spike's impulse.

    A decay that leaves the fraction p rounds with variance p(1 − p), 1/6 on average, and what was rounded
    decays on: 1/6/(1 − d²). A trace that does not decay is not rounded.
    """
    return 0.0 if decay in (0.0, 1.0) else float(np.sqrt(1 / 6 / (1 - decay**2)) / impulse)


def spikes_held(decay: float, impulse: int = IMPULSE) -> float:
    """Spikes per step above which a trace of 7 bits stands at its limit; 0 for one that never decays."""
    return float(TRACE_MAX * (1 - decay) / impulse)
