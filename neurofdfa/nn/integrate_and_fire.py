"""Integrate-and-fire: a membrane that forgets nothing but its spikes."""

import math
from typing import Any

from neurofdfa.nn.lif import LIF


class IF(LIF):
    """`LIF` without a leak, τ_mem infinite and β = 1:

        u[t] = u[t−1] + drive[t],   s[t] = H(u[t] − θ)

    All settings but tau_mem are those of `LIF`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(math.inf, **settings)
