"""Adaptive leaky integrate-and-fire: every spike makes the next ones harder."""

from typing import Any

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF


class ALIF(LIF):
    """`LIF` with a threshold that adapts (Bellec et al. 2018, 2020):

        a[t] = ρ a[t−1] + s[t−1],   s[t] = H(u[t] − θ − b a[t]),   ρ = exp(−dt/τ_a)

    adaptation: b, above 0; tau_adapt: τ_a in seconds; all other settings are those of `LIF`.
    """

    def __init__(
        self,
        tau_mem: float | Tensor = 5e-3,
        tau_syn: float | Tensor = 0.0,
        *,
        adaptation: float = 0.2,
        tau_adapt: float = 0.2,
        **settings: Any,
    ) -> None:
        if adaptation == 0:
            raise UserError("adaptation of 0 is a fixed threshold: take LIF")
        super().__init__(tau_mem, tau_syn, adaptation=adaptation, tau_adapt=tau_adapt, **settings)
