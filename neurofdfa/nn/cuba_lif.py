"""Current-based leaky integrate-and-fire: the synaptic current decays with a time constant of its own."""

from typing import Any

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF


class CubaLIF(LIF):
    """`LIF` with a synaptic filter, as NIR names it:

        i[t] = α i[t−1] + drive[t],   u[t] = β u[t−1] + i[t],   α = exp(−dt/τ_syn)

    tau_syn: above 0, in seconds; all other settings are those of `LIF`.
    """

    def __init__(
        self, tau_mem: float | Tensor = 5e-3, tau_syn: float | Tensor = 2e-3, **settings: Any
    ) -> None:
        super().__init__(tau_mem, tau_syn, **settings)
        if self.tau_syn == 0:
            raise UserError("tau_syn of 0 is no synaptic filter: take LIF")
