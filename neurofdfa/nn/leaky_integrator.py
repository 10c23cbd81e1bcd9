"""The readout that forgets: y[t] = κ y[t−1] + x[t]; a sequence's answer is its mean y."""

import math

from neurofdfa.errors import UserError
from neurofdfa.nn.integrator import I
from neurofdfa.nn.lif import DECAY_BITS, decay


class LI(I):
    """Outputs that never spike and leak, the last layer of a network: κ = exp(−dt/τ_mem).

    tau_mem: in seconds. dt: length of a step in seconds. decay_bits: κ is rounded to a multiple of 2^−bits,
    as for `LIF`. Raises `UserError` for a tau_mem that is not finite and above 0: without a leak it is `I`.
    """

    kind = "leaky"

    def __init__(
        self, tau_mem: float = 20e-3, *, dt: float = 1e-3, decay_bits: int | None = DECAY_BITS
    ) -> None:
        super().__init__()
        if not 0 < tau_mem < math.inf:
            raise UserError(f"the readout's tau_mem must be a finite number above 0, got {tau_mem}")
        self.tau_mem = tau_mem
        self.dt = dt
        self.decay_bits = decay_bits

    @property
    def kappa(self) -> float:
        """Decay of y per step."""
        return decay(self.tau_mem, self.dt or 1e-3, self.decay_bits)

    def extra_repr(self) -> str:
        """How many outputs, and the time constant."""
        return ", ".join(part for part in (super().extra_repr(), f"tau_mem={self.tau_mem:g}") if part)
