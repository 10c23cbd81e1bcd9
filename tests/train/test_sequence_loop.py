"""Whole sequences at once: the numbers of the loop that goes step by step."""

from itertools import product
from typing import Any

import pytest
import torch

from neurofdfa.nn.delay import Delay
from neurofdfa.nn.leaky_integrator import LI
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import RULES, rule_named
from neurofdfa.rules.dfa import DFA
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train import sequence_loop
from neurofdfa.train.online import OnlineLoop
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.sequence_loop import SequenceLoop, teaches_side_by_side, why_not_whole
from neurofdfa.train.trainer import Trainer
from tests.events.comparing import close

ONLINE = [name for name in RULES if rule_named(name).through_time is None]
RESETS = list(product(("soft", "hard"), ("detached", "attached")))
LENGTHS = torch.tensor([14, 3, 9, 14, 1])
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "recurrent, dropout": {"recurrent": True, "dropout": 0.3, "input_dropout": 0.2, "readout": "leaky"},
    "spiking readout": {"readout": "spike-count"},
}


def network_of(case: dict[str, Any], lif: LIF | None = None) -> tuple[Network, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(14, 5, 20, generator=g) < 0.2).double()
    options = {"bias": True} | case
    neuron = LIF(tau_syn=3e-3) if lif is None else lif
    network = feed_forward(
        20, options.pop("hidden", (12, 9)), 4, neuron=neuron, generator=g, **options
    ).double()
    scale_to_rate(network, x, 0.15, rounds=6)
    if network.readout.population is not None:
        network.readout.synapse.weight.data.mul_(15)
    return network, x, torch.randint(0, 4, (5,), generator=g)


def same_numbers(make: Any, rule: Any, lengths: torch.Tensor | None = None, **settings: Any) -> None:
    found: list[tuple[Any, ...]] = []
    for kind in (OnlineLoop, SequenceLoop):
        network, x, target = make()
        if isinstance(settings.get("loss"), MeanSquaredError):
            target = torch.randn(14, 5, 4, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
        trainer = Trainer(
            network, rule, torch.optim.SGD(network.parameters(), lr=0.05), engine="reference",
            generator=torch.Generator().manual_seed(3), **settings,
        )  # fmt: skip
        assert why_not_whole(trainer) is None
        trainer.executor = kind(trainer)
        gradients = trainer.gradients(x, target, lengths)
        found.append((trainer, gradients, [trainer.step(x, target, lengths) for _ in range(2)]))
    (online, gradients, stats), (whole, gradients2, stats2) = found
    assert any(bool(g.abs().sum() > 0) for g in gradients)
    for a, b in zip(gradients, gradients2, strict=True):
        close(a, b, 1e-10)
    for a, b in zip(online.network.parameters(), whole.network.parameters(), strict=True):
        close(a.detach(), b.detach(), 1e-10)
    pairs = zip(*(x.rule.trainable(x.rule_state) for x in (online, whole)), strict=True)
    for a, b in pairs:
        close(a, b, 1e-9)
    for before, after in zip(stats, stats2, strict=True):
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    for a, b in zip(online.rates, whole.rates, strict=True):
        close(a, b, 1e-12)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ONLINE)
def test_every_rule(name: str, network: str) -> None:
    same_numbers(lambda: network_of(NETWORKS[network]), rule_named(name))


@pytest.mark.parametrize("trace", [PerNeuron(), PerSynapse(), PerSynapse(filtered=False, downstream=True)])
@pytest.mark.parametrize("name", ["fa", "local-loss", "mono-forward", "forward-forward", "dkp"])
def test_other_traces(name: str, trace: Any) -> None:
    same_numbers(lambda: network_of(NETWORKS["recurrent, dropout"]), rule_named(name, trace=trace))


@pytest.mark.parametrize("adaptation", [0.0, 0.3])
@pytest.mark.parametrize("spread", [0.0, 0.4])
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_the_exact_trace_of_every_neuron(reset: Any, gradient: Any, spread: float, adaptation: float) -> None:
    case = {"recurrent": True, "readout": "leaky", "tau_mem_spread": spread, "tau_syn_spread": spread}
    lif = LIF(tau_syn=3e-3, reset=reset, reset_gradient=gradient, adaptation=adaptation, tau_adapt=6e-3)
    same_numbers(lambda: network_of(case, lif), rule_named("fa", trace=PerSynapse()))


@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_time_constants_that_are_learnt(reset: Any, gradient: Any) -> None:
    case = {"recurrent": True, "readout": "leaky", "tau_mem_spread": 0.3, "learn_tau": True}
    lif = LIF(tau_syn=3e-3, reset=reset, reset_gradient=gradient)
    for name in ("fa", "dkp"):
        same_numbers(lambda: network_of(case, lif), rule_named(name, trace=PerSynapse()))


@pytest.mark.parametrize("name", ["ottt", "local-loss", "forward-forward", "fdfa", "dkp", "s-tllr"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_rate_target(name: str, strength: float) -> None:
    same_numbers(
        lambda: network_of({}), rule_named(name), rate_regulariser=RateRegulariser(strength=strength)
    )


@pytest.mark.parametrize("name", ["ottt", "sltt", "mono-forward", "fdfa", "dkp", "s-tllr", "drtp"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("when", ["every-step", "last", 4])
def test_lengths_of_their_own(name: str, strength: float, when: Any) -> None:
    same_numbers(
        lambda: network_of({"readout": "leaky", "dropout": 0.3}), rule_named(name), LENGTHS,
        loss=CrossEntropy(when=when), rate_regulariser=RateRegulariser(strength=strength),
    )  # fmt: skip


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_values_over_time(lengths: Any) -> None:
    same_numbers(lambda: network_of({}), rule_named("local-loss"), lengths, loss=MeanSquaredError())


def test_only_some_steps_are_taught() -> None:
    same_numbers(lambda: network_of({}), rule_named("sltt", every=3))


@pytest.mark.parametrize("name", ["fdfa", "dfa", "dkp", "drtp"])
@pytest.mark.parametrize("trace", [PerNeuron(), PerSynapse()])
def test_delays_and_recurrent_convolutions(name: str, trace: Any) -> None:
    def delayed() -> tuple[Network, torch.Tensor, torch.Tensor]:
        g = torch.Generator().manual_seed(1)
        own = [LIF(tau_syn=3e-3), LIF(recurrent=True)]
        late = [Delay(torch.arange(n) % 4) for n in (20, 12, 9)]
        network = Network(
            late[0], Linear(20, 12), own[0], late[1], Linear(12, 9), own[1], late[2], Linear(9, 4), LI(),
            generator=g,
        ).double()  # fmt: skip
        x = (torch.rand(14, 5, 20, generator=g) < 0.2).double()
        scale_to_rate(network, x, 0.15, rounds=6)
        return network, x, torch.randint(0, 4, (5,), generator=g)

    same_numbers(delayed, rule_named(name, trace=trace))
    image = {"hidden": [{"conv2d": {"out_channels": 2, "kernel_size": 3}}], "shape": (1, 4, 5)}
    same_numbers(lambda: network_of(image | {"recurrent": True}), rule_named(name, trace=trace))


@pytest.mark.parametrize("name", ["ottt", "local-loss"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch, name: str, lengths: Any) -> None:
    monkeypatch.setattr(sequence_loop, "MOST_KEPT", 2 * 14 * 8 * (20 + 8 * (12 + 9) + 8 * 4))
    network, _, _ = network_of({})
    loop = SequenceLoop(Trainer(network, rule_named(name), engine="reference"))
    assert len(loop._shares(14, 5, lengths)) == 3
    same_numbers(lambda: network_of({"dropout": 0.2}), rule_named(name), lengths)


@pytest.mark.parametrize("name", ["fa", "ottt"])
def test_a_wrong_factor_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The comparison sees a decay that is off by a thousandth."""
    honest = sequence_loop.adjoint_of

    def wrong(trace: Any, layer: Any) -> Any:
        found = honest(trace, layer)
        return lambda t, layer, kappa, signal, seen: found(
            t, layer, kappa, signal, seen._replace(psi=1.001 * seen.psi)
        )

    monkeypatch.setattr(sequence_loop, "adjoint_of", wrong)
    with pytest.raises(AssertionError):
        same_numbers(lambda: network_of({}), rule_named(name))


def test_a_rule_of_ones_own_is_asked_step_by_step_unless_it_says_otherwise() -> None:
    class Stateful(DFA):
        def signals(self, network: Any, step: Any, broadcast: Any, state: Any) -> Any:
            return super().signals(network, step, broadcast, state)

    class Renamed(DFA):
        name = "renamed"

    assert teaches_side_by_side(DFA())
    assert teaches_side_by_side(Renamed())
    assert not teaches_side_by_side(Stateful())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"update_every": 3}, "within a sequence"), ({"rule": rule_named("fa", trace=PerNeuron())}, "forward")],
)
def test_what_stays_step_by_step(settings: dict[str, Any], reason: str) -> None:
    network, _, _ = network_of({}, LIF(adaptation=0.2 if "rule" in settings else 0.0))
    trainer = Trainer(network, engine="reference", **({"rule": rule_named("ottt")} | settings))
    assert reason in str(why_not_whole(trainer))
