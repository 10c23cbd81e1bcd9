"""From the job's description to connected Lava processes: the stock ones, or the same with batch lanes."""

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.graded.process import GradedReluVec, GradedVec
from lava.proc.lif.process import LIFReset
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from processes.host import host_class
from processes.lanes import LaneConv, LaneDense, OpenLIF
from processes.resets import OpenResetLIF, ResetLIF
from scipy.sparse import csr_matrix

NEVER = 2**30  # longer than any run
SILENT = 2**17  # one above the chip's 17-bit threshold: no 24-bit membrane exceeds it


class Network:
    """Processes of one job: `host`, `neurons` and `synapses` by name."""

    def __init__(self, job, arrays):
        self.job = job
        self.lanes = job["lanes"] if job["mode"] == "lanes" else None
        self.neurons = {p["name"]: self._neuron(p, arrays) for p in job["populations"]}
        self.synapses = {c["name"]: self._synapse(c, arrays) for c in job["connections"]}
        self.host = self._host()
        self._connect()

    def _shape(self, size):
        return (size,) if self.lanes is None else (self.lanes, size)

    def _neuron(self, population, arrays):
        if population["sends"] != "spikes":
            kind = GradedVec if population["sends"] == "sums" else GradedReluVec
            vth = int(arrays[f"{population['name']}/vth"][0])
            return kind(shape=self._shape(population["size"]), vth=vth)
        value = {
            key: arrays[f"{population['name']}/{key}"] for key in ("du", "dv", "vth", "bias_mant", "bias_exp")
        }
        if not population["spiking"]:
            value["vth"] = np.full_like(value["vth"], SILENT)
        streamed = self.job["clearing"] != "set"
        if not population["plain"]:
            value |= {
                "reset": population["reset"],
                "refractory": population["refractory"],
                "reset_value": arrays[f"{population['name']}/reset_value"],
            }
        return self._neuron_class(population)(
            shape=self._shape(population["size"]),
            **value,
            reset_interval=self.job["period"] if streamed else NEVER,
            reset_offset=population["depth"] + 1 if streamed else NEVER - 1,
            name=population["name"],
        )

    def _neuron_class(self, population):
        """In lanes, a population whose state is recorded sends it by itself."""
        states = [t["variable"] for t in self.job["taps"] if t["population"] == population["name"]]
        tapped = self.lanes is not None and states not in ([], ["s_out"])
        if population["plain"]:
            return OpenLIF if tapped else LIFReset
        return OpenResetLIF if tapped else ResetLIF

    def _port(self, tap):
        """The port that a tap listens to, or None for one that reads a variable."""
        if tap["variable"] == "s_out":
            return self.neurons[tap["population"]].s_out
        if self.lanes is not None:
            return getattr(self.neurons[tap["population"]], tap["variable"] + "_out")
        return None

    def _synapse(self, connection, arrays):
        weights = arrays[f"{connection['name']}/weight"]
        delays = arrays.get(f"{connection['name']}/delay")
        shared = {
            "weights": weights,
            "weight_exp": connection["weight_exp"],
            "num_weight_bits": connection["num_weight_bits"],
            "sign_mode": SignMode[connection["sign_mode"].upper()],
            "name": connection["name"],
        }
        if self.lanes is not None:
            kind = LaneConv if connection["form"] == "kernel" else LaneDense
            return kind(
                lanes=self.lanes,
                sizes=tuple(connection["shape"]),
                convolution=connection["convolution"],
                delays=delays,
                graded=connection["graded"],
                payload=connection["payload"],
                period=self.job["period"] if self.job["clearing"] == "gate" else 0,
                source_depth=connection["source_depth"],
                **shared,
            )
        shared["num_message_bits"] = (8 if connection["source"] == "input" else 24) * connection["graded"]
        if connection["form"] == "conv":
            return convolution(connection, shared)
        if connection["form"] == "sparse":
            ends = [arrays.get(f"{connection['name']}/{end}") for end in ("target", "source")]
            return sparse(shared, delays, ends, tuple(connection["shape"]))
        return Dense(**shared) if delays is None else DelayDense(delays=delays, **shared)

    def _host(self):
        sizes = {p["name"]: p["size"] for p in self.job["populations"]}
        taps = []
        for i, tap in enumerate(self.job["taps"]):
            kind = "variable" if self._port(tap) is None else "port"
            shape = self._shape(sizes[tap["population"]])
            taps.append({**tap, "kind": kind, "port": f"tap{i}_{kind}", "shape": shape})
        plan = {key: self.job[key] for key in ("steps", "period", "samples", "input")}
        plan.update(lanes=self.lanes or 1, taps=taps, on=self.job["always_on"], on_shape=self._shape(1))
        return host_class(taps, plan["on"])(shape=self._shape(self.job["input_size"]), plan=plan, name="host")

    def _connect(self):
        for connection in self.job["connections"]:
            synapse = self.synapses[connection["name"]]
            source = self.neurons.get(connection["source"], self.host)
            port = self.host.on_out if connection["source"] == "always on" else source.s_out
            target = self.neurons[connection["target"]]
            if connection["form"] == "conv":
                # Ours are flat images of channels, rows, columns; Lava's are of columns, rows, channels.
                flipped = port.reshape(tuple(connection["convolution"]["image"])).transpose((2, 1, 0))
                flipped.connect(synapse.s_in)
                synapse.a_out.transpose((2, 1, 0)).reshape(target.a_in.shape).connect(target.a_in)
            else:
                port.connect(synapse.s_in)
                synapse.a_out.connect(target.a_in)
        for tap in self.host.proc_params["plan"]["taps"]:
            source, sink = self._port(tap), getattr(self.host, tap["port"])
            if source is None:
                sink.connect_var(getattr(self.neurons[tap["population"]], tap["variable"]))
            else:
                source.connect(sink)

    def layer_names(self):
        """Process → the name that a user knows it by."""
        return {
            process: name for name, process in {**self.neurons, **self.synapses, "host": self.host}.items()
        }

    def clear(self, phase):
        """Empty by `Var.set` what a new sample must not inherit, `phase` steps after the sample began."""
        for population in self.job["populations"]:
            if population["sends"] != "spikes":
                continue
            if phase == 0 or (phase == population["depth"] and population["biased"]):
                neurons = self.neurons[population["name"]]
                pauses = [neurons.resting] if isinstance(neurons, ResetLIF) else []
                for variable in (neurons.u, neurons.v, *pauses):
                    variable.set(np.zeros(variable.shape, np.int64))
        for connection in self.job["connections"]:
            if phase == 0 or (phase <= connection["source_depth"] and connection["source_biased"]):
                synapse = self.synapses[connection["name"]]
                buffer = synapse.a_buf if connection["form"] == "conv" else synapse.a_buff
                buffer.set(np.zeros(buffer.shape, np.int64))


def convolution(connection, shared):
    """Lava's Conv; it convolves (flips the kernel) where NIR and PyTorch correlate."""
    shape = connection["convolution"]
    channels, rows, columns = shape["image"]
    return Conv(
        weight=shared["weights"][:, :, ::-1, ::-1].transpose((0, 3, 2, 1)),
        input_shape=(columns, rows, channels),
        num_message_bits=shared["num_message_bits"],
        groups=shape["groups"],
        name=shared["name"],
        **{key: tuple(shape[key][::-1]) for key in ("padding", "stride", "dilation")},
    )


def sparse(shared, delays, ends, shape):
    """Lava's Sparse or DelaySparse; a weight of zero is no synapse there, whatever its delay.

    ends: target and source of every weight, of a kernel's synapses; None where the weights are a matrix.
    """
    weights = shared.pop("weights")
    listed = ends[0] is not None
    weights = csr_matrix((weights, ends), shape=shape) if listed else csr_matrix(weights)
    if delays is None:
        return Sparse(weights=weights, **shared)
    return DelaySparse(weights=weights, delays=csr_matrix(delays), max_delay=int(delays.max()), **shared)
