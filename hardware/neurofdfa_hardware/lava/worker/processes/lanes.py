"""A Dense that carries many samples at once: one lane per sample, Lava's own arithmetic in each.

Lava's LIF works on any shape, so lanes need nothing but a Dense from `[lanes, n_in]` to `[lanes, n_out]`, and
a LIF that also sends its state (reading it through a RefPort adds a phase to every step of every process).
Weights are clipped and truncated by Lava's own functions; sums are matrix products, exact because they stay
below the mantissa of the float they are done in.
"""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import clip_weights, truncate_weights


class OpenLIF(LIFReset):
    """Lava's LIFReset with two more ports, on which u and v after each step go out."""

    def __init__(self, *, shape, **parameters):
        super().__init__(shape=shape, **parameters)
        self.u_out = OutPort(shape=shape)
        self.v_out = OutPort(shape=shape)


class OpenLIFModel(PyLifResetModelBitAcc):
    """Lava's own fixed-point step, then the state is sent; protocol, resources and tags are inherited."""

    implements_process = OpenLIF  # the decorator refuses a class whose parent implements a process
    u_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self):
        """One step."""
        super().run_spk()
        self.u_out.send(self.u)
        self.v_out.send(self.v)


class LaneDense(AbstractProcess):
    """Dense or DelayDense over lanes, from and to `sizes` neurons (n_out, n_in).

    weights `[n_out, n_in]`, delays the same shape or None; graded: spikes carry numbers up to payload.
    period, source_depth: at the first step of every period the buffers are emptied, and spikes that the
    source sends before its own first step are dropped (period 0: never).
    """

    def __init__(
        self,
        *,
        lanes,
        sizes,
        convolution,
        weights,
        delays,
        weight_exp,
        num_weight_bits,
        sign_mode,
        graded,
        payload,
        period,
        source_depth,
        name,
    ):
        super().__init__(
            weight_exp=weight_exp,
            num_weight_bits=num_weight_bits,
            sign_mode=sign_mode,
            graded=graded,
            payload=payload,
            period=period,
            source_depth=source_depth,
            delays=delays,
            convolution=convolution,
            name=name,
        )
        self.s_in = InPort(shape=(lanes, sizes[1]))
        self.a_out = OutPort(shape=(lanes, sizes[0]))
        self.weights = Var(shape=weights.shape, init=weights)


@implements(proc=LaneDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class LaneDenseModel(PyLoihiProcessModel):
    """Per lane what Lava's fixed-point Dense and DelayDense do: send the held sum, then hear the spikes."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.uint8, precision=8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=16)
    weights: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=8)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.planes = None

    def _prepare(self):
        """One weight matrix per delay, as floats wide enough for exact sums."""
        sign_mode = self.proc_params["sign_mode"]
        weights = clip_weights(self.weights, sign_mode, num_bits=8)
        weights = truncate_weights(weights, sign_mode, self.proc_params["num_weight_bits"])
        payload = self.proc_params["payload"] if self.proc_params["graded"] else 1
        largest = int(np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max(initial=0)) * payload
        self.float_type = np.float32 if largest < 2**24 else np.float64
        delays = self.proc_params["delays"]
        deepest = 0 if delays is None else int(delays.max())
        self.planes = self._planes(weights, delays)
        self.held = np.zeros((deepest + 1, *self.a_out._shape), np.int64)

    def _planes(self, weights, delays):
        """Delay and what spikes deliver with it, for every delay."""
        delays = np.zeros(weights.shape, int) if delays is None else delays
        found = []
        for delay in np.unique(delays):
            plane = np.ascontiguousarray(np.where(delays == delay, weights, 0).T, dtype=self.float_type)
            found.append((int(delay), lambda spikes, plane=plane: spikes @ plane))
        return found

    def run_spk(self):
        """One step."""
        if self.planes is None:
            self._prepare()
        period = self.proc_params["period"]
        phase = (self.time_step - 1) % period if period else None
        if phase == 0:
            self.held[:] = 0
        self.a_out.send(self.held[0])
        spikes = self.s_in.recv()
        self.held[:-1] = self.held[1:]
        self.held[-1] = 0
        if phase is not None and phase < self.proc_params["source_depth"]:
            return
        if not self.proc_params["graded"]:
            spikes = spikes.astype(bool)
        spikes = spikes.astype(self.float_type)
        exponent = self.proc_params["weight_exp"]
        for delay, plane in self.planes:
            total = plane(spikes).astype(np.int64)
            shifted = np.left_shift(total, exponent) if exponent > 0 else np.right_shift(total, -exponent)
            self.held[delay] += shifted


class LaneConv(LaneDense):
    """The same with a kernel `[channels_out, channels_in / groups, rows, columns]` that synapses share.

    convolution: image, out, stride, padding, dilation (rows, columns) and groups; delays: None, one number in
    any shape, one per source `[1, n_in]` or per target `[n_out, 1]`.
    """


class LaneConvModel(LaneDenseModel):
    """Weights, order, shift and delays as in `LaneDenseModel`; sums over windows instead of a matrix."""

    implements_process = LaneConv

    def _planes(self, weights, delays):
        kernel = np.asarray(weights, self.float_type)
        if delays is None or delays.size == 1:
            return [
                (0 if delays is None else int(delays.max()), lambda spikes: self._convolve(kernel, spikes))
            ]
        found = []
        for delay in np.unique(delays):
            mask = (delays == delay).reshape(1, -1)
            if delays.shape[0] == 1:
                found.append((int(delay), lambda spikes, mask=mask: self._convolve(kernel, spikes * mask)))
            else:
                found.append((int(delay), lambda spikes, mask=mask: self._convolve(kernel, spikes) * mask))
        return found

    def _convolve(self, kernel, spikes):
        """A sum over the positions of the kernel, each a product of channels."""
        form = self.proc_params["convolution"]
        groups, (channels, rows, columns) = form["groups"], form["out"]
        (down, right), (above, left) = form["stride"], form["padding"]
        images = spikes.reshape(len(spikes), *form["image"])
        images = np.pad(images, [(0, 0), (0, 0), (above, above), (left, left)])
        images = images.reshape(len(spikes), groups, -1, *images.shape[2:])
        weight = kernel.reshape(groups, channels // groups, *kernel.shape[1:])
        total = np.zeros((len(spikes), groups, channels // groups, rows, columns), self.float_type)
        for a in range(kernel.shape[2]):
            for b in range(kernel.shape[3]):
                top, first = a * form["dilation"][0], b * form["dilation"][1]
                part = images[
                    :,
                    :,
                    :,
                    top : top + down * (rows - 1) + 1 : down,
                    first : first + right * (columns - 1) + 1 : right,
                ]
                total += np.einsum("goi,bgiyx->bgoyx", weight[..., a, b], part, optimize=True)
        return total.reshape(len(spikes), -1)
