"""What set-up compiles is all that there is to compile."""

from typing import Any

import torch

from neurofdfa.events import run, warm
from neurofdfa.events.kernels import sequence, update
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DKP, FDFA
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer


def test_nothing_is_left_to_compile() -> None:
    warm.warm()
    kernels: list[Any] = [sequence.run_range, update.update, update.collect]
    before = [list(kernel.signatures) for kernel in kernels]
    assert all(any("float32" in str(signature) for signature in found) for found in before)
    for rule, threads, rate, options in (
        (FDFA(), 1, RateRegulariser(), {"readout": "leaky", "recurrent": True, "bias": True}),
        (
            FDFA(fraction=0.5),
            2,
            None,
            {"neuron": LIF(reset="hard", tau_syn=3e-3, decay_bits=None), "dropout": 0.2},
        ),
        (DKP(), 2, RateRegulariser(), {"weight_bits": 4}),
    ):
        network = feed_forward(70, [80, 100], 20, **{"neuron": LIF(reset="soft", decay_bits=None)} | options)
        learner = Trainer(
            network,
            rule,
            torch.optim.Adam(network.parameters(), lr=1e-3),
            rate_regulariser=rate,
            threads=threads,
            engine="events",
        )
        for x in (torch.rand(30, 5, 70).gt(0.9), torch.rand(30, 5, 70)):
            learner.step(x, torch.zeros(5, dtype=torch.int64))
            run(network, x)
            run(network, x, spikes=False, threads=2)
    assert [list(kernel.signatures) for kernel in kernels] == before
