"""Processes of a network that learns inside Lava: a neuron that hears its error, and the host that teaches.

Stock Lava has the learning synapses (`LearningDense` with a three-factor rule) and leaves it to the user to
write the neuron that turns a third factor into the traces y2 and y3.
"""

import numpy as np
from embedded import ERROR_OFFSET, error_of
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
    """Lava's LIFReset with a third factor, and its membrane sent out.

    The factor is summed over a sample into g, less what arrives in the step `minus` of a period. y2 =
    max(g·m, 0) >> shift and y3 = max(−g·m, 0) >> shift go to the synapses that learn, clipped to 7 bits. m
    counts the steps at which the membrane lay in the open interval `window` (a box-shaped surrogate
    derivative); window None: m = 1. y1 is `impulse` for every spike of the sample, in 7 bits.
    """

    def __init__(self, *, shape, shift, window, minus, impulse, **parameters):
        super().__init__(shape=shape, **parameters)
        self.proc_params["shift"] = shift
        self.proc_params["window"] = window
        self.proc_params["minus"] = minus
        self.proc_params["impulse"] = impulse
        self.third_in = InPort(shape=shape)
        self.v_out = OutPort(shape=shape)
        for trace in ("y1_out", "y2_out", "y3_out"):
            setattr(self, trace, OutPort(shape=shape))


class TaughtLIFModel(PyLifResetModelBitAcc):
    """Lava's own fixed-point step, and the sums around it."""

    implements_process = TaughtLIF  # the decorator refuses a class whose parent implements a process

    third_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    y1_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y2_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    y3_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.shift = proc_params["shift"]
        self.window = proc_params["window"]
        self.factor = self.near = self.count = 0

    def run_spk(self):
        """One step."""
        phase = self.time_step % self.reset_interval
        if phase == self.reset_offset:
            self.factor = self.near = self.count = 0
        third = self.third_in.recv().astype(np.int64)
        self.factor = self.factor + (-third if phase == self.proc_params["minus"] else third)
        super().run_spk()
        scaled = self.factor * (1 if self.window is None else self.near)
        counted = np.zeros(self.v.shape, np.int32) + self.count * self.proc_params["impulse"]
        self.y1_out.send(np.clip(counted, 0, TRACE_MAX).astype(np.int32))
        for port, signed in ((self.y2_out, scaled), (self.y3_out, -scaled)):
            port.send(np.clip(np.maximum(signed, 0) >> self.shift, 0, TRACE_MAX).astype(np.int32))
        self.v_out.send(self.v.astype(np.int32))

    def spiking_activation(self):
        """As Lava's, on the way counting the spikes and the steps near the threshold."""
        if self.window is not None:
            self.near = self.near + ((self.v > self.window[0]) & (self.v < self.window[1]))
        fired = super().spiking_activation()
        self.count = self.count + fired
        return fired


class Teacher(AbstractProcess):
    """The embedded processor: plays inputs, reads the readout's membranes, sends the error.

    plan: period, depth (populations), steps, samples, decode, score_shift, and the files input, labels,
    scores, errors. The error goes to the feedback as two graded spikes, 2·64 (which the neurons take off) and
    2·(64 + e), for a payload has no sign; and to the readout as it is.
    """

    def __init__(self, *, n_in, n_out, plan, name):
        super().__init__(plan=plan, name=name)
        self.s_out = OutPort(shape=(n_in,))
        self.payload_out = OutPort(shape=(n_out,))
        self.error_out = OutPort(shape=(n_out,))
        self.v_in = InPort(shape=(n_out,))


@implements(proc=Teacher, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class TeacherModel(PyLoihiProcessModel):
    """Sends before it receives, so it never blocks a layer."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8, precision=8)
    payload_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    error_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    v_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)

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
            self.scores = np.load(plan["scores"], mmap_mode="r+")
            self.errors = np.load(plan["errors"], mmap_mode="r+")
        sample, step = divmod(self.time_step - 1, plan["period"])
        seen = step - plan["depth"]  # the input step that the readout answers now
        frame = np.zeros(self.s_out._shape, np.uint8)
        payload, error = np.zeros((2, *self.payload_out._shape), np.int32)
        if step < plan["steps"]:
            frame[:] = self.input[step, sample]
        if seen == plan["steps"]:
            payload[:] = 2 * ERROR_OFFSET
        if seen == plan["steps"] + 1:
            error[:] = error_of(self.scores[sample], self.labels[sample], plan["score_shift"])
            payload[:] = 2 * (ERROR_OFFSET + error)
            self.errors[sample] = error
        self.s_out.send(frame)
        self.payload_out.send(payload)
        self.error_out.send(error)
        v = self.v_in.recv()
        if 0 <= seen < plan["steps"] and (plan["decode"] == "mean" or seen == plan["steps"] - 1):
            self.scores[sample] += v
