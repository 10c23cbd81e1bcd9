"""What of a learning rule fits Loihi's learning engine, as Lava simulates it, what does not, and how far off.

A synapse of the engine changes by a sum of products, evaluated at the end of an epoch of t_epoch steps:

    Δw = Σ_k ± 2^{r_k} · (x0 | y0 | u) · factors,   factors: x1, x2, y1, y2, y3, w, t (a tag), constants

x0, y0: a spike of either end; u<k>: every 2^k epochs. x1, x2: exponential traces of the presynaptic spikes;
y1…y3: traces that the postsynaptic neuron sends (`Loihi3FLearningRule`), so a third factor arrives as one of
them. Traces have 7 bits and no sign, weights 8 bits and a sign, tags likewise; results are rounded
stochastically. Davies et al., IEEE Micro 38(1), 2018; lava-nc 0.10.0.

Each rule of the command line is told here by name and from its equations: the chip's side knows nothing of
what trained a network.
"""

from collections.abc import Callable

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.learning.terms import (
    ERROR,
    FEEDBACK,
    PSI,
    READOUT,
    SIGNED,
    SIGNED_FEEDBACK,
    STEP,
    TANGENTS,
    TRANSPOSED,
    Lowering,
    Neurons,
    Term,
    hidden_terms,
    trace_term,
)


def _fdfa(n: Neurons) -> Lowering:
    learnt = Term(
        "B ← (1 − a) B + a Ĵᵀ",
        "host",
        "tangents have no place on the chip. Between samples the host reads the output weights, sends random "
        "±1 through them and averages v (W v)ᵀ into B",
        'with one hidden layer that is FDFA\'s own expectation for the kernel "innovation", W_oᵀ; below the '
        "last layer B would need ψ of the layers between, which the host does not read",
    )
    return Lowering("fdfa", (FEEDBACK, ERROR, learnt, *hidden_terms(n)), SIGNED, runs={"refresh_every": 50})


def _dfa(n: Neurons) -> Lowering:
    return Lowering("dfa", (FEEDBACK, ERROR, *hidden_terms(n)), SIGNED, runs={"refresh_every": 0})


def _dkp(n: Neurons) -> Lowering:
    learnt = Term(
        "∇B = z eᵀ, decay of B and W_o",
        "approximated",
        "the error arrives as a graded spike that overwrites the feedback synapse's x1 with 64 + "
        "e, x1 − 64 is a factor, the hidden neuron's own spike count y1 the other, −2^d·w the decay; needs "
        "Loihi 2's graded spikes, for a trace has no sign and x1 of a binary spike no size",
        "B copies W_oᵀ but for the rounding, and for spikes that y1 and x1 count in different steps",
    )
    return Lowering(
        "dkp",
        (FEEDBACK, ERROR, learnt, *hidden_terms(n)),
        SIGNED,
        feedback_dw=SIGNED_FEEDBACK,
        runs={"refresh_every": 0, "rate_feedback": -7, "decay": -7},
    )


def _drtp(n: Neurons) -> Lowering:
    target = Term(
        "λ = B y*",
        "fits",
        "label spikes go through a Dense to the hidden layer; the error serves the readout",
    )
    return Lowering("drtp", (target, ERROR, *hidden_terms(n)), SIGNED)


def _e_prop(n: Neurons) -> Lowering:
    tag = Term(
        "ē = κ ē⁻ + ψ ε per synapse",
        "approximated",
        "the tag t of the synapse: it adds x1 · y1 with y1 = ψ sent by the neuron, and loses a power-of-two "
        "share, every step (t_epoch 1)",
        "8 bits and a sign; 1 − κ rounded to a power of two; every step an epoch",
    )
    origin = Term(
        "feedback learnt or symmetric",
        "host",
        "learnt, and symmetric with one hidden layer: refreshed by the host, as FDFA's; symmetric below the "
        "last layer would be a product of weights that no synapse holds",
        optional=True,
    )
    return Lowering(
        "e-prop",
        (FEEDBACK, ERROR, origin, trace_term(n, False), PSI, tag, STEP, READOUT),
        "2^{rate}*u{every}*t*y2 - 2^{rate}*u{every}*t*y3",
        dt="2^{rate}*u0*x1*y1 - 2^{rate}*u0*t",
    )


def _local_loss(n: Neurons) -> Lowering:
    own = Term(
        "λ = Gᵀ e_l, y_l = G z_l",
        "fits",
        "per layer k error neurons more, a Dense G to them and a Dense Gᵀ back",
    )
    return Lowering("local-loss", (own, ERROR, *hidden_terms(n)), SIGNED)


def _mono_forward(n: Neurons) -> Lowering:
    twice = Term(
        "M learns and sends back",
        "approximated",
        "two connections, M to the layer's error neurons and Mᵀ back, that both learn e zᵀ (on the way back "
        "as DKP's feedback: graded spikes of 64 + e)",
        "they start as each other's transpose and drift apart by their rounding; a common decay holds them",
    )
    return Lowering(
        "mono-forward",
        (twice, ERROR, *hidden_terms(n)),
        SIGNED,
        feedback_dw=SIGNED_FEEDBACK,
    )


def _forward_forward(n: Neurons) -> Lowering:
    goodness = Term(
        "σ(θ_g − Σ r²)",
        "host",
        "a sum of squares over a layer and a sigmoid of it: the host counts spikes and sets the third factor "
        "of the next sample",
        "one sample late; two passes per sample and no readout's pass beside them",
    )
    rate = Term("r_j of the neuron itself", "fits", "y1, a trace of its own spikes, as a further factor")
    return Lowering(
        "forward-forward",
        (goodness, rate, *hidden_terms(n)),
        "2^{rate}*u{every}*x1*y1*y2 - 2^{rate}*u{every}*x1*y1*y3",
    )


def _weight_forward_gradient(n: Neurons) -> Lowering:
    direction = Term(
        "direction V per synapse",
        "impossible",
        "a random number per synapse that also drives the tangents; nearest: the host perturbs weights, runs "
        "twice, and broadcasts the difference of losses",
    )
    return Lowering("weight-forward-gradient", (TANGENTS, direction, STEP, READOUT))


def _activity_forward_gradient(n: Neurons) -> Lowering:
    nearest = Term(
        "c = e · ẏ, broadcast",
        "impossible",
        "without ẏ there is no c; nearest: noise in the membranes, and the loss against its average as the "
        "third factor (node perturbation)",
    )
    return Lowering("activity-forward-gradient", (TANGENTS, nearest, STEP, READOUT))


def _guided_forward_gradient(n: Neurons) -> Lowering:
    scale = Term(
        "⟨g, d⟩ / ‖d‖²",
        "impossible",
        "a sum over a whole layer, a division, and a weight change that waits for both; nearest: local-loss, "
        "which descends the guess itself",
    )
    return Lowering("guided-forward-gradient", (TANGENTS, scale, STEP, READOUT))


def _sbd(n: Neurons) -> Lowering:
    correlation = Term(
        "R ← (1 − m) R + m z eᵀ",
        "approximated",
        "as DKP's feedback: a graded spike of 64 + e overwrites x1, y1 of the hidden neuron, "
        "decay −w; the descending sign is that of the product",
        "m a power of two; R of 8 bits and a sign",
    )
    power = Term("power", "approximated", "y1 · y1 · x1 and x1 · y1: third order", "7 bits", optional=True)
    lateral = Term(
        "decorrelation ⟨r_j r_k⟩ r_k",
        "impossible",
        "a synapse sees one postsynaptic neuron",
        optional=True,
    )
    return Lowering(
        "sbd",
        (FEEDBACK, ERROR, correlation, power, lateral, *hidden_terms(n)),
        SIGNED,
        feedback_dw=SIGNED_FEEDBACK,
    )


def _opzo(n: Neurons) -> Lowering:
    copy = Term(
        "B ← (1 − a) B + a (x̃ − x) zᵀ / σ",
        "host",
        "a second copy of the network with noise, which the chip could run; the host subtracts the outputs "
        "and averages, since the noise of other neurons is in no synapse",
    )
    return Lowering("opzo", (FEEDBACK, ERROR, copy, *hidden_terms(n)), SIGNED)


def _ottt(n: Neurons) -> Lowering:
    return Lowering("ottt", (TRANSPOSED, ERROR, *hidden_terms(n, filtered=False)), SIGNED)


def _sltt(n: Neurons) -> Lowering:
    instant = Term("s_pre of the step", "fits", "x0: a product that is made when a spike arrives (t_epoch 1)")
    return Lowering(
        "sltt", (TRANSPOSED, ERROR, instant, PSI, STEP, READOUT), "2^{rate}*x0*y2 - 2^{rate}*x0*y3"
    )


def _s_tllr(n: Neurons) -> Lowering:
    timing = Term(
        "a_pre ψ p + a_post q s",
        "approximated",
        "λψ of both signs in y2 and y3, times x1; the non-causal part is x0 times λq of both signs, and only "
        "y1 is left for it",
        "the non-causal part keeps one sign of λ only",
    )
    return Lowering(
        "s-tllr",
        (TRANSPOSED, FEEDBACK, ERROR, timing, PSI, STEP, READOUT),
        "2^{rate}*u0*x1*y2 - 2^{rate}*u0*x1*y3 - 2^{rate}*x0*y1",
    )


def _fa(n: Neurons) -> Lowering:
    chain = Term(
        "λ_l = B_lᵀ (ψ λ)_{l+1}",
        "approximated",
        "each layer's neuron gates its λ by ψ and sends it on as a graded spike through a Dense; no such "
        "neuron is built here. With one hidden layer FA is DFA",
        "a step of delay per layer; ψ two-valued",
    )
    return Lowering("fa", (chain, ERROR, *hidden_terms(n)), SIGNED)


def _weight_mirror(n: Neurons) -> Lowering:
    chain = Term(
        "λ_l = B_lᵀ (ψ̄ λ)_{l+1}",
        "approximated",
        "as fa: each layer's neuron gates its λ by its average ψ, a trace, and sends it on as a graded spike",
        "a step of delay per layer; ψ two-valued before it is averaged",
    )
    mirror = Term(
        "B ← ⟨(W v) vᵀ⟩",
        "host",
        "no tangents on the chip: the host, which wrote W, knows what noise would do to the drives",
    )
    return Lowering("weight-mirror", (chain, mirror, ERROR, *hidden_terms(n)), SIGNED)


def _readout_only(n: Neurons) -> Lowering:
    still = Term("hidden layers do not learn", "fits", "feedback B = 0", None)
    return Lowering(
        "readout-only", (still, ERROR, trace_term(n), STEP, READOUT), SIGNED, runs={"refresh_every": 0}
    )


def _bptt(n: Neurons) -> Lowering:
    past = Term("the sequence backwards", "impossible", "no state of the past is kept, and time runs one way")
    return Lowering("bptt", (past, TRANSPOSED))


TABLE: dict[str, Callable[[Neurons], Lowering]] = {
    "fdfa": _fdfa,
    "dfa": _dfa,
    "dkp": _dkp,
    "drtp": _drtp,
    "e-prop": _e_prop,
    "local-loss": _local_loss,
    "mono-forward": _mono_forward,
    "forward-forward": _forward_forward,
    "weight-forward-gradient": _weight_forward_gradient,
    "activity-forward-gradient": _activity_forward_gradient,
    "guided-forward-gradient": _guided_forward_gradient,
    "sbd": _sbd,
    "opzo": _opzo,
    "ottt": _ottt,
    "sltt": _sltt,
    "s-tllr": _s_tllr,
    "fa": _fa,
    "weight-mirror": _weight_mirror,
    "readout-only": _readout_only,
    "bptt": _bptt,
}


def lower(rule: str, neurons: Neurons | None = None) -> Lowering:
    """The entry of `rule` (its name on the command line), its approximation errors for `neurons`.

    Raises `HardwareError` that lists the rules for an unknown name, and for decays outside 0 to 1.
    """
    neurons = neurons or Neurons()
    if rule not in TABLE:
        raise HardwareError(f"unknown rule {rule!r}: choose one of {', '.join(TABLE)}")
    if not all(0 <= d <= 1 for d in (neurons.alpha, neurons.beta, neurons.kappa)) or neurons.steps < 2:
        raise HardwareError("decays lie between 0 and 1 per step, and a sample has at least 2 steps")
    return TABLE[rule](neurons)
