"""The integer network that both the reference and Lava execute: populations joined by connections.

A `Program` holds exactly the numbers Loihi would hold, so two backends that disagree on one spike
disagree about dynamics and not about rounding. Semantics: `neurofdfa_hardware.chip.fixed_point`.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel

IntArray = NDArray[np.int64]
Chip = Literal["lava", "loihi1"]
"""Whose arithmetic: that of Lava's fixed-point models, or of Loihi 1 (`neurofdfa_hardware.chip.loihi1`)."""
SignMode = Literal["mixed", "excitatory", "inhibitory"]
Sends = Literal["spikes", "sums", "positive sums"]
Reset = Literal["hard", "soft"]

INPUT = "input"
# A source of one neuron that fires at every step: what drives a current all the time.
ALWAYS_ON = "always on"
_ZERO = np.zeros((), np.int64)


@dataclass(frozen=True)
class Connection:
    """Integer synapses from one population, the input or the source "always on" to a population.

    weight: `[n_target, n_source]`, the values handed to Lava's Dense before its own truncation, or a kernel
        of such values that many synapses share.
    weight_exp: the accumulated sum is shifted by it (left when positive, arithmetic right when negative).
    num_weight_bits: 1..8; Lava floors the weights to that grid (`chip.synapse.truncate`).
    delay: extra steps per synapse, 0..62, None for a plain Dense: a scalar or `[n_target, n_source]`; for a
        kernel a scalar, `[1, n_source]` or `[n_target, 1]`.
    graded: the payload of a spike multiplies the weight (Lava's num_message_bits > 0). The input sends
        0..255, populations what `sends` says; without `graded` anything but zero is one spike.
    """

    name: str
    source: str
    target: str
    weight: IntArray | Kernel
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: SignMode = "mixed"
    delay: IntArray | None = None
    graded: bool = False


@dataclass(frozen=True)
class Population:
    """Neurons with Loihi's current-based LIF dynamics; each parameter is a scalar or `[size]`.

    du, dv: decays 0..4095 (du: u·(4096 − (du+1)) >> 12, dv: v·(4096 − dv) >> 12).
    vth: threshold, 17 bit; compared as v > vth << 6. bias = bias_mant << bias_exp is added to v.
    spiking: False for an integrator that is read through its membrane and never fires or resets.
    sends: "spikes" of 0 or 1, or graded spikes of neurons without a state (Lava's GradedVec, GradedReluVec):
        the sum a of this step where |a| > vth ("sums") or a > vth ("positive sums"), else 0. They have one
        threshold and neither decay nor bias (`graded_population`).
    reset: what a spike does to v: "hard" sets it to reset_value, "soft" subtracts reset_value from it.
    refractory: steps after a spike in which v is held at reset_value (hard) and cannot fire.
        A hard reset to 0 is what every Loihi does, and Loihi 1 has refractory steps, too; the others are
        microcode of Loihi 2, and in Lava a process of this project.
    """

    name: str
    size: int
    du: IntArray
    dv: IntArray
    vth: IntArray
    bias_mant: IntArray
    bias_exp: IntArray
    spiking: bool = True
    sends: Sends = "spikes"
    reset: Reset = "hard"
    reset_value: IntArray = field(default_factory=_ZERO.copy)
    refractory: int = 0

    @property
    def plain(self) -> bool:
        """Whether it resets to 0 at once, as Lava's own LIF does."""
        return self.reset == "hard" and not np.any(self.reset_value) and self.refractory == 0

    @property
    def graded(self) -> bool:
        """Whether its spikes carry numbers; it has no u and v then."""
        return self.sends != "spikes"


def graded_population(name: str, size: int, vth: int, sends: Sends = "sums") -> Population:
    """Neurons that pass on the sums they hear as graded spikes."""
    return Population(name, size, _ZERO, _ZERO, np.asarray(vth, np.int64), _ZERO, _ZERO, True, sends)


@dataclass(frozen=True)
class Program:
    """A whole integer network; connections may form cycles (recurrent layers).

    input_size: neurons of the source named "input". output: name of the population that is read out.
    decode: "count" (spikes of the output summed), "last" (its membrane at the last step) or "mean" (its
    membrane averaged over the steps); the prediction is the argmax.
    Samples are independent: every population is reset to zero before each of them.
    """

    input_size: int
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    output: str
    decode: Literal["count", "last", "mean"] = "count"


@dataclass(frozen=True)
class Record:
    """What a backend returns, aligned to the input's time axis (each layer's Dense latency removed).

    spikes: population → uint8 `[T, B, n]`, int32 for graded ones; output_v: membrane of the output population
    int32 `[T, B, n]`; u, v: only when states were asked for, population with a state → int32 `[T, B, n]`.
    """

    spikes: dict[str, NDArray[np.uint8 | np.int32]]
    output_v: NDArray[np.int32]
    u: dict[str, NDArray[np.int32]]
    v: dict[str, NDArray[np.int32]]

    def __repr__(self) -> str:
        """How much there is of everything: the numbers themselves fill screens."""
        steps, samples = self.output_v.shape[:2]
        layers = [
            f"{name} {int(np.count_nonzero(found))} spikes of {found.shape[2]} neurons"
            for name, found in self.spikes.items()
        ]
        states = "with states" if self.v else "no states"
        return f"Record({samples} samples, {steps} steps, {states}: {', '.join(layers)})"


def layer_depths(program: Program) -> dict[str, int]:
    """Steps by which each population runs late on the chip: the longest forward path from the input.

    A connection is forward when its source is "input" or stands before its target in `populations`, and
    backward otherwise (a recurrent layer, feedback from a later one). The input has depth 0, a population
    that no forward connection reaches has depth 1. In a `Record` these steps are taken off again.
    """
    depths = {"input": 0}
    for population in program.populations:
        reached = [
            depths[connection.source] + 1
            for connection in program.connections
            if connection.target == population.name and connection.source in depths
        ]
        depths[population.name] = max(reached, default=1)
    return depths


def connection_lag(connection: Connection, depths: dict[str, int]) -> int:
    """Steps between a spike and its arrival on the aligned time axis of a `Record`, `delay` not included.

    Every Dense of Lava holds its sum for one step, so target[t] hears source[t − lag − delay] with
    lag = depth(source) − depth(target) + 1: 0 from a layer to the next, 1 for a recurrent layer, 2 for
    feedback over one layer. It is negative for a connection that skips layers: such a one needs at least
    that much `delay`. What is always on has no lag.
    """
    if connection.source == ALWAYS_ON:
        return 0
    return depths[connection.source] - depths[connection.target] + 1
