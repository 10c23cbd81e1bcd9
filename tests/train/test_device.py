"""What an impaired device learns, against loops written out in full."""

from typing import Any

import pytest
import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.measure.locality.audit import certify_learner
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import RULES, rule_named
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.device import ON_THE_BUS, Device
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.state import pack, unpack
from neurofdfa.train.trainer import Trainer

T, B, K = 9, 4, 3
BROADCAST = ("fdfa", "opzo", "dfa", "dkp", "drtp", "e-prop", "sbd")
ERRORS = ("fdfa", "opzo", "dfa", "dkp", "e-prop", "sbd")


def net(dtype: torch.dtype = torch.float64, **settings: Any) -> Network:
    lif = LIF(tau_syn=2e-3, reset="soft", decay_bits=None)
    network = feed_forward(6, [7, 5], K, neuron=lif, readout="leaky", bias=True, **settings)
    network.initialise(torch.Generator().manual_seed(3), gain=2.0, readout_gain=1.0)
    return network.to(dtype)


def batch(seed: int = 1, samples: int = B) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(T, samples, 6, generator=generator) < 0.4).double()
    return x, torch.randint(0, K, (samples,), generator=generator)


def learner(
    rule: str = "dfa",
    network: Network | None = None,
    lr: float = 1e-2,
    trace: str | None = None,
    **settings: Any,
) -> Trainer:
    network = net() if network is None else network
    return Trainer(
        network,
        rule_named(rule, **({} if trace is None else {"trace": trace})),
        torch.optim.Adam(network.parameters(), lr=lr),
        rate_regulariser=RateRegulariser(strength=0.0),
        device=Device(**settings),
        generator=torch.Generator().manual_seed(5),
        engine="reference",
    )


def weights(of: Trainer) -> list[Tensor]:
    return [p.detach().clone() for p in of.network.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def slow(network: Network, matrices: tuple[Tensor, ...], message: Any, delay: int) -> list[Tensor]:
    """Σ_t (ψ[t] B m[t − d]) ⊗ trace[t] / batch of every hidden layer's weights, each filter spelled out."""
    x, target = batch()
    lif, kappa = network.hidden[0].neuron, network.readout.kappa
    totals = [torch.zeros_like(layer.synapse.weight) for layer in network.hidden]
    stages = [[torch.zeros(B, layer.synapse.n_in).double() for _ in range(3)] for layer in network.hidden]
    sent: list[Tensor] = []
    for t, step in enumerate(network.steps(x)):
        sent.append(message(step.y, target) / T)
        for index, seen in enumerate(step.layers):
            p, epsilon, trace = stages[index]
            p = lif.alpha * p + seen.pre
            epsilon = lif.beta * epsilon + p
            trace = kappa * trace + epsilon
            stages[index] = [p, epsilon, trace]
            if t >= delay:
                signal = sent[t - delay] @ matrices[index].t()
                totals[index] += torch.einsum("bj,bi->ji", signal * seen.psi, trace) / B
    return totals


def softmax_error(y: Tensor, target: Tensor) -> Tensor:
    return torch.softmax(y, 1) - torch.nn.functional.one_hot(target, K)


def wanted(y: Tensor, target: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(target, K).double()


@pytest.mark.parametrize("delay", [0, 1, 4, T - 1])
@pytest.mark.parametrize(("rule", "message"), [("dfa", softmax_error), ("drtp", wanted)])
def test_a_late_broadcast_is_the_slow_loop(rule: str, message: Any, delay: int) -> None:
    late = learner(rule, delay=delay, trace="per-neuron")
    found = [g for g in late.gradients(*batch()) if g.dim() == 2]
    expected = slow(late.network, late.rule_state.matrices, message, delay)
    for a, b in zip(found, expected, strict=False):
        assert b.any()
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rule", BROADCAST)
def test_nothing_lost_is_nothing_changed(rule: str) -> None:
    plain, lossless = learner(rule), learner(rule, drop=1e-300)
    for seed in range(3):
        # the probes and the losses are drawn from one generator: start each batch alike
        for one in (plain, lossless):
            one.generator.manual_seed(seed)
            one.step(*batch(seed))
        if rule not in ("fdfa", "opzo"):
            assert same(weights(plain), weights(lossless))
    assert torch.equal(plain.rule_state.matrices[0], lossless.rule_state.matrices[0]) or rule in (
        "fdfa",
        "opzo",
    )


@pytest.mark.parametrize("rule", BROADCAST)
def test_everything_lost_is_the_readout_alone(rule: str) -> None:
    control, deaf = learner("readout-only"), learner(rule, drop=1.0)
    if rule == "dkp":  # its decay of the readout's weights is its own
        deaf.rule = rule_named("dkp", decay=0.0)
    for seed in range(4):
        control.step(*batch(seed))
        deaf.step(*batch(seed))
    assert same(weights(control), weights(deaf))


def test_losses_are_drawn_per_sample_step_and_layer() -> None:
    whole = [g for g in learner().gradients(*batch()) if g.dim() == 2]
    lossy = learner(drop=0.3)
    draws: list[list[Tensor]] = []
    for seed in range(150):
        lossy.generator.manual_seed(seed)
        draws.append([g for g in lossy.gradients(*batch()) if g.dim() == 2])
    for index in (0, 1):
        drawn = torch.stack([d[index] for d in draws])
        z = (drawn.mean(0) - 0.7 * whole[index]) / (drawn.std(0) / 150**0.5).clamp_min(1e-12)
        assert float(z.abs().max()) < 4.5
    assert torch.equal(draws[0][2], whole[2])  # the readout hears its own error


def test_coarse_feedback_is_as_if_the_matrices_were_coarse() -> None:
    from neurofdfa.nn.rounding import matrix

    coarse, plain = learner(feedback_bits=2), learner()
    plain.rule_state = plain.rule_state._replace(
        matrices=tuple(matrix(b, 2) for b in plain.rule_state.matrices)
    )
    assert not torch.equal(coarse.rule_state.matrices[0], plain.rule_state.matrices[0])
    for a, b in zip(coarse.gradients(*batch()), plain.gradients(*batch()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rule", ERRORS)
@pytest.mark.parametrize("setting", ["feedback_bits", "error_bits", "trace_bits"])
def test_many_bits_are_float(rule: str, setting: str) -> None:
    plain, fine, coarse = (learner(rule, **bits) for bits in ({}, {setting: 24}, {setting: 3}))
    for one in (plain, fine, coarse):
        one.step(*batch(0))  # feedback that starts at zero is filled
    found = [torch.cat([g.flatten() for g in one.gradients(*batch())]) for one in (plain, fine, coarse)]
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6 * float(found[0].abs().max()))
    assert not torch.allclose(found[2], found[0], rtol=1e-2)


def test_what_learns_the_feedback_is_not_coarse() -> None:
    plain, coarse = learner("fdfa"), learner("fdfa", feedback_bits=1)
    plain.step(*batch())
    coarse.step(*batch())
    assert same(list(plain.rule_state.matrices), list(coarse.rule_state.matrices))
    assert plain.rule_state.matrices[0].any()


def test_traces_are_stored_coarsely_in_the_readout_too() -> None:
    coarse = learner(trace_bits=3, trace="per-neuron")
    x, target = batch()
    stream = coarse.stream(B, horizon=T)
    for x_t in x:
        stream.step(x_t, target)
        now = stream.loop.sequence
        assert now is not None
        for state in (now.traces[0].pre[-1], now.traces[1].out[0], now.readout_trace.heard):
            exponents = torch.frexp(state.abs().amax(1))[1]
            codes = state / torch.exp2(exponents.double() - 3)[:, None]
            assert torch.equal(codes, codes.round())
    stream.end()


@pytest.mark.parametrize("rule", ["dfa", "fdfa", "dkp", "ottt", "weight-forward-gradient", "readout-only"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_stored_weights_never_leave_their_grid(rule: str, rounding: str) -> None:
    stored = learner(rule, stored_weight_bits=5, rounding=rounding, lr=0.3)
    assert [w.shape for w in stored.stored.tensors] == [(7, 6), (5, 7), (3, 5)]
    before = weights(stored)
    for seed in range(4):
        stored.step(*batch(seed))
        for weight, step in zip(*stored.stored, strict=True):
            codes = weight.detach() / step
            assert torch.equal(codes, codes.round())
            assert -16 <= float(codes.min()) <= float(codes.max()) <= 15
    assert not torch.equal(weights(stored)[-2], before[-2])


def test_small_updates_survive_only_at_random() -> None:
    moved: dict[str, float] = {}
    for rounding in ("nearest", "stochastic"):
        stored = learner(stored_weight_bits=4, rounding=rounding, lr=1e-3)
        before = weights(stored)
        for seed in range(20):
            stored.step(*batch(seed))
        moved[rounding] = sum(
            float((a - b).abs().sum()) for a, b in zip(before, weights(stored), strict=True) if a.dim() == 2
        )
    assert moved["nearest"] == 0.0 < moved["stochastic"]


def test_many_stored_bits_are_float() -> None:
    plain, stored = learner(), learner(stored_weight_bits=24)
    bptt = [learner("bptt", stored_weight_bits=bits) for bits in (None, 24)]
    for seed in range(5):
        for one in (plain, stored, *bptt):
            one.step(*batch(seed))
    for a, b in zip(weights(plain) + weights(bptt[0]), weights(stored) + weights(bptt[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_resumed_learner_goes_on_as_if_nothing_had_happened() -> None:
    settings: dict[str, Any] = {
        "stored_weight_bits": 6, "rounding": "stochastic", "drop": 0.2, "delay": 2, "trace_bits": 5
    }  # fmt: skip
    first, second = learner("fdfa", **settings), learner("fdfa", **settings)
    first.step(*batch(0))
    unpack({name: x.clone() for name, x in pack(first, {}).items()}, second, {})
    first.step(*batch(1))
    second.step(*batch(1))
    assert same(weights(first), weights(second))


def test_an_impaired_rule_is_as_local_as_before() -> None:
    settings = Device(
        feedback_bits=3,
        error_bits=6,
        delay=2,
        drop=0.2,
        trace_bits=6,
        stored_weight_bits=8,
        rounding="stochastic",
    )
    x, target = batch(samples=4)

    def make(network: Network) -> Trainer:
        generator = torch.Generator().manual_seed(1)
        return Trainer(network, rule_named("fdfa"), device=settings, generator=generator, engine="reference")

    certify_learner(make, net(), x, target).require_local()


# ---- refusals ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", [*RULES])
def test_the_bus_is_impaired_only_where_there_is_one(rule: str) -> None:
    for setting in ON_THE_BUS:
        fits = rule in (ERRORS if setting == "error_bits" else BROADCAST)
        if fits:
            learner(rule, **{setting: 2 if setting != "drop" else 0.5})
            continue
        with pytest.raises(UserError, match=f"{setting} does not apply to '{rule}'"):
            learner(rule, **{setting: 2 if setting != "drop" else 0.5})


def test_rules_without_traces_and_bptt_refuse_by_name() -> None:
    for rule in ("sltt", "readout-only", "guided-forward-gradient"):
        with pytest.raises(UserError, match=f"trace_bits does not apply to '{rule}'"):
            learner(rule, trace_bits=4)
    with pytest.raises(UserError, match="delay does not apply to 'bptt'"):
        Trainer(net(), BPTT(), device=Device(delay=1, stored_weight_bits=4), engine="reference")
    with pytest.raises(UserError, match="does not apply to 'e-prop'"):
        Trainer(net(), rule_named("e-prop", feedback="symmetric"), device=Device(delay=1), engine="reference")


def test_settings_that_cannot_work_are_refused() -> None:
    for settings in ({"drop": 1.1}, {"delay": -1}, {"error_bits": 1}, {"trace_bits": 25}, {"rounding": "up"}):
        with pytest.raises(UserError):
            Device(**settings)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="exclude each other"):
        learner(network=net(weight_bits=4), stored_weight_bits=4)
    with pytest.raises(UserError, match="too late"):
        Trainer(
            net(), rule_named("dfa"), loss=CrossEntropy("last"), device=Device(delay=1), engine="reference"
        )
    with pytest.raises(UserError, match="no error would arrive"):
        learner(delay=T).step(*batch())
