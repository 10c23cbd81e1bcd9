"""What of a learning rule fits Loihi's learning engine, as Lava simulates it, what does not, and how far off.

A synapse of the engine changes by a sum of products, evaluated at the end of an epoch of t_epoch steps:

    Δw = Σ_k ± 2^{r_k} · (x0 | y0 | u) · factors,   factors: x1, x2, y1, y2, y3, w, t (a tag), constants

x0, y0: a spike of either end; u<k>: every 2^k epochs. x1, x2: exponential traces of the presynaptic spikes;
y1…y3: traces that the postsynaptic neuron sends (`Loihi3FLearningRule`), so a third factor arrives as one of
them. Traces have 7 bits and no sign, weights 8 bits and a sign, tags likewise; results are rounded
stochastically. Davies et al., IEEE Micro 38(1), 2018; lava-nc 0.10.0.
"""

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.learning_rules import TABLE
from neurofdfa_hardware.learning_terms import Fit, Lowering, Neurons, Term

__all__ = ["Fit", "Lowering", "Neurons", "Term", "lower"]


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
