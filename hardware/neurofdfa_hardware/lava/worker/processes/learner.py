"""Processes of a network that learns inside Lava: a neuron that hears its error, and the host that teaches.

Stock Lava has the learning synapses (`LearningDense` with a three-factor rule) and leaves it to the user to
write the neuron that turns a third factor into the traces y2 and y3.
"""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset

TRACE_MAX = 127  # traces of the chip have 7 bits and no sign


class TaughtLIF(LIFReset):
    """Lava's LIFReset with a third factor.

    The factor is summed over a sample into g. y2 = max(g·m, 0) >> shift and y3 = max(−g·m, 0) >> shift go to
    the synapses that learn, clipped to 7 bits. m counts the steps at which the membrane lay in the open
    interval `window` (a box-shaped surrogate derivative); window None: m = 1.
    """

    def __init__(self, *, shape, shift, window, **parameters):
        super().__init__(shape=shape, **parameters)
        self.proc_params["shift"] = shift
        self.proc_params["window"] = window
        self.third_in = InPort(shape=shape)
        self.y2_out = OutPort(shape=shape)
        self.y3_out = OutPort(shape=shape)


class TaughtLIFModel(PyLifResetModelBitAcc):
    """Lava's own fixed-point step, and the sums around it."""

    implements_process = TaughtLIF  # the decorator refuses a class whose parent implements a process

    third_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=16)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y3_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.shift = proc_params["shift"]
        self.window = proc_params["window"]
        self.factor = self.near = 0

    def run_spk(self):
        """One step."""
        if (self.time_step % self.reset_interval) == self.reset_offset:
            self.factor = self.near = 0
        self.factor = self.factor + self.third_in.recv().astype(np.int64)
        super().run_spk()
        scaled = self.factor * (1 if self.window is None else self.near)
        for port, signed in ((self.y2_out, scaled), (self.y3_out, -scaled)):
            port.send(np.clip(np.maximum(signed, 0) >> self.shift, 0, TRACE_MAX).astype(np.int32))

    def spiking_activation(self):
        """As Lava's, on the way counting the steps near the threshold."""
        if self.window is not None:
            self.near = self.near + ((self.v > self.window[0]) & (self.v < self.window[1]))
        return super().spiking_activation()


class Teacher(AbstractProcess):
    """Plays inputs and label spikes, and counts the spikes of the output and of the error neurons.

    plan: period, label_every, steps, samples, and the files input, labels, counts, errors.
    """

    def __init__(self, *, n_in, n_out, plan, name):
        super().__init__(plan=plan, name=name)
        self.s_out = OutPort(shape=(n_in,))
        self.label_out = OutPort(shape=(n_out,))
        self.output_in = InPort(shape=(n_out,))
        self.error_in = InPort(shape=(n_out,))


@implements(proc=Teacher, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class TeacherModel(PyLoihiProcessModel):
    """Sends before it receives, so it never blocks a layer."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8, precision=8)
    label_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8, precision=8)
    output_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    error_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.plan = proc_params["plan"]
        self.input = None

    def run_spk(self):
        """One step."""
        plan = self.plan
        if self.input is None:
            self.input = np.load(plan["input"], mmap_mode="r")
            self.labels = np.load(plan["labels"])
            self.counts = np.load(plan["counts"], mmap_mode="r+")
            self.errors = np.load(plan["errors"], mmap_mode="r+")
        sample, step = divmod(self.time_step - 1, plan["period"])
        frame, label = np.zeros(self.s_out._shape, np.uint8), np.zeros(self.label_out._shape, np.uint8)
        if step < plan["steps"]:
            frame[:] = self.input[step, sample]
            label[self.labels[sample]] = step % plan["label_every"] == 0
        self.s_out.send(frame)
        self.label_out.send(label)
        self.counts[sample] += self.output_in.recv()
        self.errors[sample] += self.error_in.recv()
