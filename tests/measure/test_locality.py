"""The audit passes every rule that says it is local, fails every other, and catches rules that lie."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.measure.locality.audit import NotLocal, certify, certify_learner
from neurofdfa.measure.locality.table import example, row
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import DFA, RULES, Broadcast, Rule, Signals, rule_named
from neurofdfa.rules.base import Feedback, broadcast_back
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.layers import conv_layer, pool_layer

DOCS = Path(__file__).parents[2] / "docs"
VARIANTS = [
    *((name, {}) for name in RULES),
    ("e-prop", {"feedback": "symmetric"}),
    ("e-prop", {"feedback": "learnt", "trace": PerNeuron()}),
    ("fdfa", {"kernel": "output", "fraction": 0.5, "optimizer": "adam"}),
    ("s-tllr", {"feedback": "random"}),
    ("weight-forward-gradient", {"shared": True}),
    ("guided-forward-gradient", {"target": "local", "guess": "random"}),
]


def network(hidden: tuple[int, ...] = (7, 6, 5), **settings: Any) -> Network:
    lif = LIF(tau_syn=2e-3, reset="hard", reset_gradient="attached", decay_bits=None)
    options: dict[str, Any] = {"readout": "leaky", "bias": True, "recurrent": True, **settings}
    net = feed_forward(6, hidden, 3, neuron=lif, **options)
    net.initialise(torch.Generator().manual_seed(3), gain=1.6, recurrent_gain=0.8, readout_gain=0.8)
    return net


def spikes(steps: int = 3, batch: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(steps, batch, 6, generator=generator) < 0.5).double()
    return x, torch.randint(0, 3, (batch,), generator=generator)


@pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=["-".join([n, *map(str, s.values())]) for n, s in VARIANTS]
)
def test_every_rule_is_what_it_says(name: str, settings: dict[str, Any]) -> None:
    rule = rule_named(name, **settings)
    found = certify(rule, example()) if not settings else certify(rule, example(), *spikes())
    if not settings:  # the certificates that are printed
        assert row(found) in (DOCS / "audit.md").read_text(encoding="utf-8").splitlines()
    assert found.local_in_space == rule.local_in_space, found.to_text()
    assert found.local_in_time == rule.local_in_time, found.to_text()
    assert found.samples_independent, found.to_text()
    assert found.local == rule.local_in_space
    for layer in found.layers:
        hidden = layer.name != "readout"
        assert layer.learns == (name != "readout-only" or not hidden)
        if layer.learns:
            # something that the layer may read must move it, or the playback replaced nothing
            assert {"error", "target", f"{layer.name}.input"} & set(layer.reads), found.to_text()


def test_a_spiking_readout_and_a_quantiser_are_no_obstacle() -> None:
    net = network((6, 5), readout="spike-count", weight_bits=4, bias=False)
    for name in ("fdfa", "e-prop"):
        found = certify(name, net, *spikes())
        assert found.local, found.to_text()
        assert found.layers[-1].reads[:2] == ("readout.input", "readout.state")


@pytest.mark.parametrize("name", ["fdfa", "dfa", "dkp", "e-prop", "mono-forward", "sltt"])
def test_convolutions_are_audited_like_any_layer(name: str) -> None:
    lif = LIF(tau_syn=2e-3, reset="hard", reset_gradient="attached", decay_bits=None)
    hidden = [conv_layer(2, 3, padding=1), pool_layer(2), conv_layer(3, 2, padding=1)]
    net = feed_forward(16, hidden, 3, shape=(1, 4, 4), neuron=lif, readout="leaky", bias=True)
    net.initialise(torch.Generator().manual_seed(3), gain=1.6, readout_gain=0.8)
    x = (torch.rand(3, 4, 16, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    settings = {"feedback_per": "channel"} if name in ("fdfa", "dfa", "dkp") else {}
    found = certify(rule_named(name, **settings), net, x, torch.tensor([0, 1, 2, 1]))
    assert found.local == (name != "sltt"), found.to_text()
    assert found.network == "16-32-27-3, leaky readout"
    assert all(layer.learns for layer in found.layers)


def test_a_rule_of_space_is_shown_where_it_reads() -> None:
    found = certify("ottt", network(), *spikes())
    reads = found.to_json()["reads"]
    assert {"layer2.weights", "layer2.state", "layer3.weights", "readout.weights"} <= set(reads["layer1"])
    assert "layer2.weights" not in reads["layer2"]
    assert "readout.weights" in reads["layer3"]
    where = {(v.layer, v.reads) for v in found.violations}
    assert ("layer2", "layer3.weights") in where
    assert not any(layer == "readout" for layer, _ in where)
    fa = {(v.layer, v.reads) for v in certify("fa", network(), *spikes()).violations}
    assert ("layer1", "layer2.state") in fa
    assert not any(source.endswith("weights") for _, source in fa)  # no weight is transported


def test_bptt_fails_in_space_and_in_time() -> None:
    found = certify("bptt", example())
    assert row(found) in (DOCS / "audit.md").read_text(encoding="utf-8").splitlines()
    assert not found.local_in_space
    assert not found.local_in_time
    assert {v.reads for v in found.violations} >= {"backward", "autograd graph", "stored past"}
    assert ("layer1", "layer2.weights") in {(v.layer, v.reads) for v in found.violations}


def test_regularisers_that_average_over_the_batch_are_told() -> None:
    found = certify(rule_named("sbd", power=1.0, decorrelation=1.0), network(), *spikes())
    assert found.local_in_space
    assert {v.reads for v in found.violations} == {"other samples"}


# ---- rules that cheat ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class ReadsNextWeights(DFA):
    """λ of a layer gets a grain of the next layer's weights."""

    name: ClassVar[str] = "cheat-weights"

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        honest = broadcast_back(state.matrices, step, broadcast.error)
        above = network.hidden[1].synapse.weight
        return Signals((honest[0] + 1e-6 * above.sum(0), *honest[1:])), state


@dataclass(frozen=True)
class InitialisesFromWeights(DFA):
    """Feedback that was copied from the readout, once and long ago."""

    name: ClassVar[str] = "cheat-copied-weights"

    def init(self, network: Network, generator: torch.Generator) -> Feedback:
        honest = super().init(network, generator)
        return Feedback((*honest.matrices[:-1], network.readout.synapse.weight.detach().t().clone()))


@dataclass(frozen=True)
class UsesBackward(DFA):
    """A layer's own loss, but differentiated by autograd."""

    name: ClassVar[str] = "cheat-backward"

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        told: list[Tensor] = []
        with torch.enable_grad():
            for seen, b in zip(step.layers, state.matrices, strict=True):
                s = seen.after.s.clone().requires_grad_()
                ((s @ b) * broadcast.error).sum().backward()
                assert s.grad is not None
                told.append(s.grad)
        return Signals(tuple(told)), state


@dataclass(frozen=True)
class PeeksAhead(DFA):
    """It was handed the whole sequence and looks one step further than the network has come."""

    name: ClassVar[str] = "cheat-future"
    sequence: list[Tensor] = field(default_factory=list)

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        honest = broadcast_back(state.matrices, step, broadcast.error)
        ahead = self.sequence[0][min(broadcast.t + 1, len(self.sequence[0]) - 1)]
        return Signals(tuple(x * (1.0 + ahead.sum(1, keepdim=True)) for x in honest)), state


@dataclass(frozen=True)
class NormalisesOverTheBatch(DFA):
    """Batch statistics."""

    name: ClassVar[str] = "cheat-batch"

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        told = broadcast_back(state.matrices, step, broadcast.error)
        return Signals(tuple((x - x.mean(0)) for x in told)), state


@dataclass(frozen=True)
class CopiesAnotherState(DFA):
    """The first layer's λ is gated by whether the last layer fired."""

    name: ClassVar[str] = "cheat-state"

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        honest = broadcast_back(state.matrices, step, broadcast.error)
        gate = step.layers[-1].after.s.mean(1, keepdim=True)
        return Signals((honest[0] * (1.0 + gate), *honest[1:])), state


@dataclass(frozen=True)
class BorrowsFeedback(DFA):
    """The first layer hears through the second layer's matrix."""

    name: ClassVar[str] = "cheat-memory"

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
        honest = broadcast_back(state.matrices, step, broadcast.error)
        return Signals((honest[0] + honest[1].sum(1, keepdim=True), *honest[1:])), state


class Hoard(NamedTuple):
    matrices: tuple[Tensor, ...]
    past: tuple[Any, ...]


@dataclass(frozen=True)
class StoresThePast(DFA):
    """It keeps every step, as if to replay them."""

    name: ClassVar[str] = "cheat-memory-in-time"

    def init(self, network: Network, generator: torch.Generator) -> Any:
        return Hoard(super().init(network, generator).matrices, ())

    def begin(self, network: Network, state: Any, share: Shard) -> Any:
        return state._replace(past=())

    def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Any) -> Any:
        told = broadcast_back(state.matrices, step, broadcast.error)
        return Signals(told), state._replace(past=(*state.past, (step.layers[0].pre.clone(),)))


CHEATS = [
    (ReadsNextWeights, "layer1", "layer2.weights"),
    (InitialisesFromWeights, "layer3", "readout.weights"),
    (UsesBackward, "all", "backward"),
    (PeeksAhead, "all", "future"),
    (NormalisesOverTheBatch, "layer1", "other samples"),
    (CopiesAnotherState, "layer1", "layer3.state"),
    (BorrowsFeedback, "layer1", "layer2.memory"),
    (StoresThePast, "all", "stored past"),
]


@pytest.mark.parametrize(("cheat", "layer", "source"), CHEATS, ids=[c.name for c, _, _ in CHEATS])
def test_a_cheat_is_caught(cheat: type[Rule[Any]], layer: str, source: str) -> None:
    x, target = spikes()
    kept = x.clone()
    rule = PeeksAhead(sequence=[x]) if cheat is PeeksAhead else cheat()
    found = certify(rule, network(), x, target)
    assert (layer, source) in {(v.layer, v.reads) for v in found.violations}, found.to_text()
    assert not found.local
    with pytest.raises(NotLocal, match=source):
        found.require_local()
    assert torch.equal(x, kept)
    # and nothing else is held against it
    expected = {"backward": {"backward", "autograd graph"}}.get(source, {source})
    assert {v.reads for v in found.violations} <= expected | {"layer3.input", "readout.input"}, (
        found.to_text()
    )


def test_an_optimizer_that_couples_layers_is_caught() -> None:
    class Clipped(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1e-3)
            return super().step()

    def make(net: Network) -> Trainer:
        return Trainer(net, DFA(), Clipped(net.parameters(), lr=0.1), engine="reference")

    found = certify_learner(make, network(), *spikes())
    assert ("readout", "layer1.state") in {(v.layer, v.reads) for v in found.violations}


def test_settings_of_a_learner_are_part_of_what_is_audited() -> None:
    def make(net: Network) -> Trainer:
        return Trainer(
            net,
            DFA(),
            torch.optim.Adam(net.parameters(), lr=1e-2),
            update_every=2,
            rate_regulariser=RateRegulariser(),
            engine="reference",
        )

    net = network()
    before = [p.clone() for p in net.parameters()]
    found = certify_learner(make, net, *spikes())
    found.require_local()
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_the_document_is_json_and_its_hashes_follow_code_and_settings() -> None:
    one, two = (certify(DFA(scale=s), network((6, 5)), *spikes(3)) for s in (1.0, 2.0))
    assert json.loads(json.dumps(one.to_json()))["local"] is True
    assert one.code == two.code
    assert one.settings_hash != two.settings_hash
    other = certify("dkp", network((6, 5)), *spikes(3))
    assert other.code != one.code
    text = one.to_text()
    assert one.code in text
    assert "dfa is local" in text


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(UserError, match="2 steps and 2 samples"):
        certify("dfa", network(), *spikes(1))

    @dataclass(frozen=True)
    class Dice(DFA):
        def signals(self, network: Network, step: Any, broadcast: Broadcast, state: Feedback) -> Any:
            told = broadcast_back(state.matrices, step, broadcast.error)
            return Signals(tuple(x * torch.rand(()) for x in told)), state

    with pytest.raises(UserError, match="does not repeat itself"):
        certify(Dice(), network(), *spikes())
