"""Run in lava-dl's own environment: what it makes of every `NAME.net` and `NAME.npy` in a folder."""

import sys
import types
from pathlib import Path

import numpy as np

# slayer's object detection wants torchvision; reading a network file does not need it
sys.modules["lava.lib.dl.slayer.object_detection"] = types.ModuleType("object_detection")

from lava.lib.dl import netx  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402


def run(path: Path) -> None:
    """Write the output spikes to `NAME.spikes.npy`, `[T + layers, n]`; `NAME.npy` has the input, `[T, n]`."""
    spikes = np.load(path.with_suffix(".npy"))
    net = netx.hdf5.Network(net_config=str(path))
    empty = np.zeros((len(net), spikes.shape[1]), spikes.dtype)
    source = Source(data=np.concatenate([spikes, empty]).T.astype(int))
    sink = Sink(shape=net.out.shape, buffer=len(spikes) + len(net))
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    net.run(condition=RunSteps(num_steps=len(spikes) + len(net)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    np.save(path.with_suffix(".spikes.npy"), sink.data.get().T)
    net.stop()


if __name__ == "__main__":
    for found in sorted(Path(sys.argv[1]).glob("*.net")):
        run(found)
