"""Neurons with Lava's fixed-point dynamics that reset otherwise than to 0: softly, to a value, with a pause.

Loihi 2 has them as microcode; Lava 0.10.0 has no fixed-point process for them.
"""

import numpy as np
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.variable import Var
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset


class ResetLIF(LIFReset):
    """Lava's LIFReset whose spikes do something else to the membrane.

    reset "hard": v becomes reset_value, and is held there for `refractory` steps without a spike; "soft":
    reset_value is taken off v.
    """

    def __init__(self, *, shape, reset, reset_value, refractory, **parameters):
        super().__init__(shape=shape, **parameters)
        self.proc_params["reset"] = reset
        self.proc_params["reset_value"] = np.asarray(reset_value, np.int64)
        self.proc_params["refractory"] = refractory
        self.resting = Var(shape=shape, init=0)


class ResetLIFModel(PyLifResetModelBitAcc):
    """Lava's own fixed-point step up to the reset; protocol, resources and tags are inherited."""

    implements_process = ResetLIF  # the decorator refuses a class whose parent implements a process
    resting: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)

    def run_spk(self):
        """One step; a new sample does not inherit a pause."""
        if (self.time_step % self.reset_interval) == self.reset_offset:
            self.resting *= 0
        super().run_spk()

    def spiking_activation(self):
        """As Lava's, but not while a neuron rests."""
        fired = super().spiking_activation()
        if self.proc_params["refractory"]:
            fired &= self.resting == 0
        return fired

    def reset_voltage(self, spike_vector):
        """What a spike does to v, and the pause after it."""
        value = np.broadcast_to(self.proc_params["reset_value"], self.v.shape)
        if self.proc_params["reset"] == "soft":
            self.v[spike_vector] -= value[spike_vector].astype(self.v.dtype)
            return
        held = spike_vector | (self.resting > 0)
        self.resting[self.resting > 0] -= 1
        self.resting[spike_vector] = self.proc_params["refractory"]
        self.v[held] = value[held]


class OpenResetLIF(ResetLIF):
    """`ResetLIF` with two more ports, on which u and v after each step go out."""

    def __init__(self, *, shape, **parameters):
        super().__init__(shape=shape, **parameters)
        self.u_out = OutPort(shape=shape)
        self.v_out = OutPort(shape=shape)


class OpenResetLIFModel(ResetLIFModel):
    """Its step, then the state is sent."""

    implements_process = OpenResetLIF
    u_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self):
        """One step."""
        super().run_spk()
        self.u_out.send(self.u)
        self.v_out.send(self.v)
