"""The host of a simulated chip: sends the input spikes in, writes what the layers do to files.

One process is both source and sink, because the time of a step grows with the number of processes. It
sends before it receives, so it never blocks a layer. Everything moves through memory-mapped files that the
driver has allocated; `Var.get` would move one number at a time.
"""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class HostModel(PyLoihiProcessModel):
    """Plays `input` and records every tap, each shifted by the depth of its layer.

    `plan` holds steps, period, samples, lanes, input (file) and taps: dicts of port, kind ("port", or
    "variable" for what is read through a RefPort), depth and file. Sample k starts at step k·period; a layer
    of depth d runs d steps behind.
    """

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.plan = proc_params["plan"]
        self.files = None

    def _open(self):
        self.input = np.load(self.plan["input"], mmap_mode="r")
        self.taps = [
            (getattr(self, tap["port"]), tap["kind"], tap["depth"], np.load(tap["file"], mmap_mode="r+"))
            for tap in self.plan["taps"]
        ]
        self.frame = np.zeros(
            self.s_out.shape if hasattr(self.s_out, "shape") else self.s_out._shape, np.uint8
        )
        self.ones = np.ones((self.plan["lanes"], 1), np.uint8).reshape(self.plan["on_shape"])
        self.reads_states = any(tap[1] == "variable" for tap in self.taps)
        self.files = True

    def _place(self, depth):
        """Row of the record and its lanes for a layer of this depth, or None between samples."""
        batch, row = divmod(self.time_step - 1 - depth, self.plan["period"])
        first = batch * self.plan["lanes"]
        last = min(first + self.plan["lanes"], self.plan["samples"])
        return (row, first, last) if row < self.plan["steps"] and 0 <= first < last else None

    def run_spk(self):
        """One step: send, then receive."""
        if self.files is None:
            self._open()
        self.frame[:] = 0
        place = self._place(0)
        if place is not None:
            row, first, last = place
            self.frame.reshape(self.plan["lanes"], -1)[: last - first] = self.input[row, first:last]
        self.s_out.send(self.frame)
        if self.plan["on"]:
            self.on_out.send(self.ones)
        for port, kind, depth, file in self.taps:
            if kind == "port":
                self._write(file, depth, port.recv())

    def _write(self, file, depth, data):
        place = self._place(depth)
        if place is not None:
            row, first, last = place
            file[row, first:last] = data.reshape(self.plan["lanes"], -1)[: last - first]

    def post_guard(self):
        """Whether variables have to be read at all: it costs every process a phase."""
        return self.reads_states

    def run_post_mgmt(self):
        """Read the variables, once every neuron has done its step."""
        for port, kind, depth, file in self.taps:
            if kind == "variable":
                self._write(file, depth, port.read())


class HostProcess(AbstractProcess):
    """Process behind `HostModel`; `shape` is that of the input, taps as in its plan with their shapes."""

    def __init__(self, *, shape, plan, name):
        super().__init__(shape=shape, plan=plan, name=name)
        self.s_out = OutPort(shape=shape)
        if plan["on"]:
            self.on_out = OutPort(shape=plan["on_shape"])
        for tap in plan["taps"]:
            port = InPort if tap["kind"] == "port" else RefPort
            setattr(self, tap["port"], port(shape=tuple(tap["shape"])))


_made: dict[tuple[bool | str, ...], type[HostProcess]] = {}


def host_class(taps, on) -> type[HostProcess]:
    """A process class with exactly the ports that `taps` and `on` name: Lava wants each one declared."""
    key = (on, *(tap["port"] for tap in taps))
    if key not in _made:
        number = len(_made)
        process = type(f"Host{number}", (HostProcess,), {"__module__": __name__})
        ports = {"s_out": LavaPyType(PyOutPort.VEC_DENSE, np.uint8, precision=8)}
        if on:
            ports["on_out"] = LavaPyType(PyOutPort.VEC_DENSE, np.uint8, precision=8)
        for tap in taps:
            cls = PyInPort.VEC_DENSE if tap["kind"] == "port" else PyRefPort.VEC_DENSE
            ports[tap["port"]] = LavaPyType(cls, np.int32, precision=24)
        model = type(f"Host{number}Model", (HostModel,), {"__module__": __name__, **ports})
        model = implements(proc=process, protocol=LoihiProtocol)(model)
        model = requires(CPU)(model)
        model = tag("fixed_pt")(model)
        globals().update({process.__name__: process, model.__name__: model})  # where Lava looks for models
        _made[key] = process
    return _made[key]
