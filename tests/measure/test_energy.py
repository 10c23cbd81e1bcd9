"""The ledger's counts are those of a hand with a pencil, and of NeuroBench."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.measure.energy.ledger import CONSTANTS, Counts, Ledger, ledger
from neurofdfa.measure.energy.table import rows
from neurofdfa.nn.lif import LIF, lif_step
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import BPTT, RULES, Rule, rule_named
from tests.layers import conv_layer, delay_layer, pool_layer

# β = e⁻²⁰: a neuron spikes when its input says so
FORGETFUL = {"tau_mem": 5e-5, "reset": "hard", "decay_bits": None}


def set_weights(net: Network, *values: Any) -> Network:
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        for layer, value in zip((*net.hidden, net.readout), values, strict=True):
            layer.synapse.weight.copy_(torch.tensor(value))
    return net


def count(net: Network, x: Any, rule: str, **settings: Any) -> Ledger:
    when = settings.pop("when", "every-step")
    return ledger(net, torch.as_tensor(x), CrossEntropy(when=when), rule_named(rule, **settings))


def check(found: Counts, memory: dict[str, float] | None = None, **expected: float) -> None:
    assert {name: getattr(found, name) for name in expected} == expected
    if memory is not None:
        assert found.memory == memory


# ---- net 1: 2-2-1, one neuron that follows its inputs and one that is deaf --------------------------------
# x: step 0 one spike, step 1 two, step 2 none; neuron 0 spikes at 0 and 1
def first() -> tuple[Network, torch.Tensor]:
    net = feed_forward(2, [2], 1, neuron=LIF(**FORGETFUL))
    return set_weights(net, [[2.0, 2.0], [0.0, 0.0]], [[1.0, 1.0]]), torch.tensor(
        [[[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 0.0]]]
    )


def test_inference_of_the_first_net() -> None:
    found = count(*first(), "dfa").inference
    check(
        found.counts,
        {"weights": 4 + 2, "neuron_state": 2 * 2 + 1},
        synaptic_operations=3 * 2 + 2 * 1,
        multiplied_synaptic_operations=0,
        neuron_updates=3 * (2 + 1),
        active_neuron_updates=2 * 2 + 2 * 1,
        spikes=2,
        weight_reads=8,
        weight_writes=0,
        trace_updates=0,
    )
    # 8 synaptic operations, 6 active and 3 idle neuron updates, 2 spikes
    assert found.loihi1 == pytest.approx((8 * 23.6 + 6 * 81 + 3 * 52 + 2 * 1.7) * 1e-12)
    # 8 additions, 9 neuron updates of a multiplication and an addition; 8 weights read, 9 states both ways
    assert found.cmos["arithmetic"] == pytest.approx((8 * 0.9 + 9 * 4.6) * 1e-12)
    assert found.cmos["sram"] == pytest.approx((8 + 18) * 5 * 1e-12)
    assert found.cmos["dram"] == pytest.approx((8 + 18) * 650 * 1e-12)


def test_learning_of_the_first_net() -> None:
    every, last = (
        count(*first(), "dfa", trace="per-neuron", when=w).learning["dfa"].counts
        for w in ("every-step", "last")
    )
    check(
        every,
        {"weights": 6, "neuron_state": 5, "traces": 2 * 2 + 2, "feedback": 2, "gradients": 6},
        synaptic_operations=8,
        trace_updates=3 * (2 * 2 + 2),  # β and κ per input; κ at the readout
        synapse_updates=(1 + 2 + 2) * 2 + (1 + 1 + 1) * 1,  # inputs that have spiked by then
        feedback_operations=3 * 2,
        feedback_updates=0,
        broadcast_error_words=3,
        weight_reads=8 + 6,
        weight_writes=6,
    )
    check(last, synapse_updates=2 * 2 + 1, feedback_operations=2, broadcast_error_words=1, trace_updates=18)


def test_bptt_of_the_first_net() -> None:
    found = count(*first(), "dfa").learning["bptt"]
    check(
        found.counts,
        {"weights": 6, "neuron_state": 5, "gradients": 6, "stored_activations": 3 * (2 + 2 * 2 + 1)},
        synapse_updates=3 * 2 + 2 * 1,
        backward_operations=3 * 2,
        backward_updates=3 * 3,
        activation_words=21,
        weight_reads=8 + 6 + 6,
        weight_writes=6,
        broadcast_error_words=0,
    )
    assert found.loihi1 is None
    x = first()[1]
    windowed = ledger(first()[0], x, CrossEntropy(), BPTT(window=2)).learning
    assert list(windowed) == ["bptt"]
    assert windowed["bptt"].counts.memory["stored_activations"] == 2 * 7


# ---- net 2: 1-2-1, recurrent, biased, current-based, real-valued input; the second of two samples is silent
def second() -> tuple[Network, torch.Tensor]:
    lif = LIF(tau_syn=5e-5, **FORGETFUL)
    net = feed_forward(1, [2], 1, neuron=lif, bias=True, recurrent=True, readout="leaky")
    return set_weights(net, [[4.0], [0.0]], [[1.0, 1.0]]), torch.tensor([[[0.5], [0.0]], [[0.0], [0.0]]])


def test_inference_of_the_second_net() -> None:
    found = count(*second(), "e-prop").inference
    check(
        found.counts,
        {"weights": 2 * (1 + 1 + 2) + (2 + 1), "neuron_state": 2 * 3 + 1},
        synaptic_operations=0.5 * 2 + 0.5 * 2 + 0.5 * 1,  # input, own spike one step later, readout
        multiplied_synaptic_operations=1.0,
        neuron_updates=2 * 3,
        active_neuron_updates=2 * 3,  # the biases reach everybody
        spikes=0.5,
        weight_reads=2.5 + 2 * 2 + 2,
    )
    assert found.loihi1 is None


def test_learning_of_the_second_net() -> None:
    found = count(*second(), "e-prop").learning
    check(
        found["e-prop"].counts,
        {"weights": 11, "neuron_state": 7, "traces": 2 * 2 * 4 + 4 + 3, "feedback": 2, "gradients": 11},
        trace_updates=2 * (16 + 4) + 2 * 3,
        synapse_updates=(0.5 + 0.5 + 0.5 + 2) * 2 + (0.5 + 0.5 + 2) * 1,
        feedback_operations=2 * 2,
    )
    check(
        found["bptt"].counts,
        synapse_updates=(0.5 + 0.5 + 2) * 2 + (0.5 + 2) * 1,
        backward_operations=2 * (2 + 4),
        backward_updates=2 * 3,
        activation_words=2 * (1 + 4 + 1),
    )


# ---- net 3: 2-2-3-2 with a spiking readout, in silence: what is left is tangents, noise and feedback -------
def third() -> tuple[Network, torch.Tensor]:
    return feed_forward(
        2, [2, 3], 2, readout="spike-count", neuron=LIF(reset="soft", decay_bits=None)
    ), torch.zeros(2, 1, 2)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_learning_of_the_third_net(share: float) -> None:
    found = count(*third(), "fdfa", trace="per-neuron", fraction=share).learning["fdfa"].counts
    check(
        found,
        {
            "weights": 4 + 6 + 6, "neuron_state": 4 + 6 + 6, "traces": 4 + 4 + 6, "feedback": 10,
            "tangents": 4 + 6 + 6, "rule_state": 2 * 2 + 3, "gradients": 16,
        },
        synaptic_operations=0,
        spikes=0,
        synapse_updates=0,
        active_neuron_updates=0,
        neuron_updates=2 * 7,
        trace_updates=2 * 14 + share * 2 * 7,
        tangent_operations=share * 2 * (2 * 3 + 3 * 2),
        tangent_updates=share * 2 * 7,
        feedback_operations=2 * 10,
        feedback_updates=share * 2 * 10,
        broadcast_error_words=2 * 2,
        broadcast_tangent_words=share * 2 * 2,
    )  # fmt: skip


# ---- net 4: a convolution over 3 x 3 with a kernel of 2 x 2, one channel, and a pool over its 2 x 2 neurons.
# A corner of the input reaches 1 neuron, an edge 2, the middle 4; the pool lets every spike reach 2 outputs.
# x: step 0 one corner, step 1 the middle and an edge; all weights 2, so whoever hears a spike spikes
def fourth() -> tuple[Network, torch.Tensor]:
    net = feed_forward(
        9, [conv_layer(1, 2), pool_layer(2)], 2, shape=(1, 3, 3), neuron=LIF(**FORGETFUL), bias=False
    )
    x = torch.zeros(2, 1, 9)
    x[0, 0, 0] = x[1, 0, 4] = x[1, 0, 1] = 1.0
    return set_weights(net, [[[[2.0, 2.0], [2.0, 2.0]]]], [[1.0], [1.0]]), x


def test_inference_of_a_convolution() -> None:
    found = count(*fourth(), "dfa").inference
    check(
        found.counts,
        {"weights": 4 + 2, "neuron_state": 4 * 2 + 2},
        synaptic_operations=(1 + 4 + 2) + (1 + 4) * 2,
        neuron_updates=2 * (4 + 2),
        spikes=1 + 4,
        weight_reads=7 + 10,
    )


@pytest.mark.parametrize(("per", "rows"), [("neuron", 4), ("channel", 1)])
def test_learning_of_a_convolution(per: str, rows: int) -> None:
    found = count(*fourth(), "fdfa", trace="per-neuron", feedback_per=per).learning
    connections = 4 * 1 + 4 * 2 + 1 * 4
    check(
        found["fdfa"].counts,
        {
            "weights": 6, "neuron_state": 10, "traces": 9 * 2 + 4, "feedback": rows * 2,
            "tangents": 4 * 2 + 2, "rule_state": 0, "gradients": 6,
        },
        trace_updates=2 * (9 * 2 + 4),  # β and κ per input neuron, κ at the readout
        synapse_updates=(1 + 1 + 4 + 2) + (1 * 2 + 4 * 2),  # connections whose input has spiked by then
        feedback_operations=2 * rows * 2,
        feedback_updates=2 * rows * 2,
        tangent_operations=2 * 4 * 2,
        tangent_updates=2 * (4 + 2),
        weight_writes=6,
    )  # fmt: skip
    check(found["bptt"].counts, synapse_updates=7 + 10, backward_operations=2 * 8)
    exact = count(*fourth(), "e-prop").learning["e-prop"].counts
    assert exact.memory["traces"] == connections * 2 + 4


def test_what_is_on_its_way_takes_memory() -> None:
    net = feed_forward(
        3,
        [delay_layer(2), 4, delay_layer(1, 3)],
        2,
        generator=torch.Generator().manual_seed(0),
        neuron=LIF(reset="soft", decay_bits=None),
    )
    late = int(net.readout.synapse.delay.max())
    found = count(net, torch.zeros(2, 1, 3), "fdfa")
    assert found.inference.counts.memory["delay_lines"] == 2 * 3 + late * 4
    assert found.learning["fdfa"].counts.memory["tangents"] == (4 * 2 + 2 * 3) + (2 + late * 4)


def test_every_rule_has_a_ledger_of_a_convolution() -> None:
    net = feed_forward(
        16,
        [conv_layer(2, 3, padding=1), pool_layer(2), 5],
        3,
        shape=(1, 4, 4),
        bias=True,
        recurrent=True,
        neuron=LIF(reset="soft", decay_bits=None),
    )
    for name in RULES:
        found = count(net, (torch.rand(6, 3, 16) < 0.4).float(), name).learning[name].counts
        assert found.memory["weights"] == (18 + 2 + 36) + (8 * 5 + 5 + 25) + (15 + 3)


def test_every_rule_has_a_ledger() -> None:
    net, x = (
        feed_forward(12, [8, 7], 3, readout="leaky", neuron=LIF(reset="soft", decay_bits=None)),
        (torch.rand(6, 3, 12) < 0.4).float(),
    )
    base = count(net, x, "readout-only").learning["readout-only"].counts
    for name in RULES:
        found = count(net, x, name)
        counts = found.learning[name].counts
        document = json.loads(json.dumps(found.to_json()))
        assert document.keys() >= {"learning", "inference", "constants"}
        joules = document["learning"][name]["joules"]
        assert sum(joules["cmos_45nm_parts"].values()) == pytest.approx(
            joules["cmos_45nm"]["arithmetic"] + joules["cmos_45nm"]["sram"]
        )
        assert (joules["loihi1"] is None) == (not rule_named(name).local_in_space)
        assert sum(counts.memory.values()) >= sum(base.memory.values())
        assert counts.products >= base.products
        assert (counts.broadcast_tangent_words > 0) == (name in ("fdfa", "opzo"))


def test_memory_of_bptt_grows_with_time_and_that_of_a_local_rule_does_not() -> None:
    net = feed_forward(12, [8], 3, neuron=LIF(reset="soft", decay_bits=None))
    short, long = (count(net, torch.zeros(steps, 1, 12), "fdfa").learning for steps in (5, 50))
    assert short["fdfa"].counts.memory == long["fdfa"].counts.memory
    stored = [found["bptt"].counts.memory["stored_activations"] for found in (short, long)]
    assert stored[1] == 10 * stored[0]


def test_rules_cost_what_sets_them_apart() -> None:
    net, x = feed_forward(4, [3, 5], 2, neuron=LIF(reset="soft", decay_bits=None)), torch.ones(6, 1, 4)
    each = {name: count(net, x, name).learning[name].counts for name in RULES}
    assert each["dkp"].feedback_updates == 6 * 8 * 2
    assert each["mono-forward"].feedback_operations == 2 * each["dfa"].feedback_operations
    assert each["ottt"].backward_operations == each["fa"].backward_operations == 6 * (3 * 5 + 5 * 2)
    assert each["fa"].memory["feedback"] == 3 * 5 + 5 * 2
    assert each["forward-forward"].synaptic_operations == 3 * each["dfa"].synaptic_operations
    assert each["activity-forward-gradient"].broadcast_error_words == 6
    every_third = count(net, x, "sltt", every=3).learning["sltt"].counts
    assert every_third.backward_operations == each["sltt"].backward_operations / 3
    probed = count(net, x, "fdfa", every=4).learning["fdfa"].counts
    assert probed.tangent_operations == each["fdfa"].tangent_operations / 4


def test_constants_carry_their_source() -> None:
    assert all(c.source and c.picojoules > 0 for c in CONSTANTS.values())
    for name, constant in CONSTANTS.items():
        assert (constant.label == "simulated lower bound") == name.startswith("loihi1")
    assert not any("loihi2" in name for name in CONSTANTS)


def test_an_unknown_rule_is_refused() -> None:
    class Mine(Rule[None]):
        name = "mine"

    with pytest.raises(UserError, match="no energy ledger for rule 'mine'"):
        ledger(*third(), CrossEntropy(), Mine())


def test_synaptic_operations_are_those_of_neurobench() -> None:
    workload = pytest.importorskip("neurobench.metrics.workload")
    models = pytest.importorskip("neurobench.models")
    generator = torch.Generator().manual_seed(0)
    net = feed_forward(20, [30, 25], 5, generator=generator, neuron=LIF(reset="soft", decay_bits=None))
    net.initialise(generator, gain=2.0)
    x = (torch.rand(10, 1, 20, generator=generator) < 0.3).float()

    class Twin(torch.nn.Module):
        """The same weights in torch's own layers, where NeuroBench hooks in."""

        def __init__(self) -> None:
            super().__init__()
            dense = [layer.synapse for layer in (*net.hidden, net.readout)]
            self.linear = torch.nn.ModuleList(torch.nn.Linear(d.n_in, d.n_out, bias=False) for d in dense)
            for linear, synapse in zip(self.linear, dense, strict=True):
                linear.weight = torch.nn.Parameter(synapse.weight.detach().clone())

        @torch.no_grad()
        def forward(self, data: torch.Tensor) -> torch.Tensor:
            states = [layer.initial_state(len(data)) for layer in net.hidden]
            y = torch.zeros(len(data), 5)
            for x_t in data.transpose(0, 1):
                pre = x_t
                for index, layer in enumerate(net.hidden):
                    states[index] = lif_step(self.linear[index](pre), states[index], layer.neuron)
                    pre = states[index].s
                y = y + self.linear[-1](pre)
            return y

    model = models.TorchModel(Twin())
    model.register_hooks()
    data = (x.transpose(0, 1), torch.zeros(1))
    found = workload.SynapticOperations()(model, model(data[0]), data)
    ours = count(net, x, "dfa").inference.counts
    assert ours.synaptic_operations > 1000
    assert found["Effective_ACs"] == ours.synaptic_operations
    assert found["Effective_MACs"] == 0


def test_the_documented_table_is_what_its_command_prints() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8").splitlines()
    for row in rows():
        assert row in documented
