"""Alignment and memory measure what they say."""

import torch

from neurofdfa.measure.alignment import alignment
from neurofdfa.measure.memory import peak_mib
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.rules import DFA, FDFA
from neurofdfa.rules.base import Feedback
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.train.trainer import Trainer


def batch(samples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(12, samples, 10, generator=generator) < 0.4).double()
    return x, torch.randint(0, 3, (samples,), generator=generator)


def test_the_exact_rule_is_aligned_and_its_opposite_is_not() -> None:
    net = feed_forward(
        10, [14], 3, generator=torch.Generator().manual_seed(1), neuron=LIF(reset="soft", decay_bits=None)
    ).double()
    x, target = batch()
    scale_to_rate(net, x, 0.2)
    learner = Trainer(net, DFA(trace=PerSynapse()), engine="reference")
    exact = net.readout.synapse.weight.detach().t().clone()
    learner.rule_state = Feedback((exact,))
    before = [p.detach().clone() for p in net.parameters()]
    found = alignment(learner, x, target)
    assert abs(found.mean[0] - 1) < 1e-9
    assert found.std[0] < 1e-9
    assert abs(found.norm_ratio[0] - 1) < 1e-9
    learner.rule_state = Feedback((-exact,))
    assert abs(alignment(learner, x, target).mean[0] + 1) < 1e-9
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_samples_without_a_gradient_are_excluded_and_counted() -> None:
    net = feed_forward(
        10, [14], 3, generator=torch.Generator().manual_seed(1), neuron=LIF(reset="soft", decay_bits=None)
    ).double()
    x, target = batch()
    x[:, 2] = 0  # no input, no eligibility
    found = alignment(Trainer(net, DFA(), engine="reference"), x, target)
    assert found.excluded == (1,)


def test_peak_memory_is_counted_exactly() -> None:
    def work() -> None:
        kept = [torch.zeros(256, 1024) for _ in range(3)]  # 1 MiB each
        kept.append(kept[0] + kept[1])
        del kept[0]

    assert abs(peak_mib(work) - 4.0) < 0.01


def test_online_learning_holds_no_more_for_longer_sequences() -> None:
    peaks = []
    for steps in (10, 200):
        learner = Trainer(
            feed_forward(100, [256], 4, neuron=LIF(reset="soft", decay_bits=None)), FDFA(), engine="reference"
        )
        x = torch.rand(steps, 32, 100)
        target = torch.randint(0, 4, (32,))
        learner.step(x, target)
        peaks.append(peak_mib(lambda x=x, target=target, learner=learner: learner.step(x, target)))
    assert peaks[1] < 1.05 * peaks[0]
