import copy

import pytest
import torch

import neurofdfa as nf
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.rules import DFA, DKP, FDFA, ReadoutOnly
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import (
    SURROGATE,
    relative,
    simulate,
    small_network,
    spec_of,
    spike_train,
    weights_of,
)

X, LABELS = spike_train(steps=12), torch.tensor([0, 1, 2, 1])
LIFS = LIF(tau_mem=6e-3, tau_syn=2e-3, reset="hard", surrogate=SURROGATE, decay_bits=None)
RULES = [FDFA(), FDFA(fraction=0.5, every=2), DFA(), DKP(), ReadoutOnly()]


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def network_with(**settings):
    return small_network(lif=LIFS, **({"hidden": [6, 5], "bias": True} | settings))


def parameters_of(network):
    return [p.detach().clone() for p in network.parameters()]


def seeded(network, rule, make=None, **settings):
    optimizer = None if make is None else make(network.parameters())
    generator = torch.Generator().manual_seed(4)
    return Trainer(network, rule, optimizer, generator=generator, engine="reference", **settings)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_seed_same_weights(rule, dtype):
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # the global generator must not matter
        network = network_with(dropout=0.3, recurrent=True).to(dtype)
        learner = seeded(network, rule)
        for _ in range(3):
            stats = learner.step(X.to(dtype), LABELS)
        runs.append((parameters_of(network), stats))
    assert all(torch.equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))
    assert all(p.dtype == dtype for p in runs[0][0])
    assert runs[0][1].scores.dtype == dtype
    assert float(runs[0][1].loss) == float(runs[1][1].loss)


def test_single_precision_gradients_agree_with_double():
    network = network_with(recurrent=True)
    double = seeded(network, DKP()).gradients(X, LABELS)
    single_net = copy.deepcopy(network).float()
    learner = seeded(single_net, DKP())
    for b, exact in zip(learner.rule_state.matrices, seeded(network, DKP()).rule_state.matrices, strict=True):
        b.copy_(exact)
    single = learner.gradients(X.float(), LABELS)
    assert max(relative(a.double(), b) for a, b in zip(single, double, strict=True)) < 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_gradients_change_nothing(rule):
    """Training with looks at the gradient in between = training without them, bit for bit."""
    ends = []
    for look in (False, True):
        network = network_with(dropout=0.2)
        learner = seeded(network, rule, rate_regulariser=RateRegulariser())
        for _ in range(4):
            if look:
                learner.gradients(X, LABELS)
            learner.step(X, LABELS)
        ends.append([*parameters_of(network), *learner.rule.trainable(learner.rule_state), *learner.rates])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_gradients_are_what_the_optimizer_gets():
    network = network_with()
    learner = seeded(network, DFA(), sgd(0.5))
    before = parameters_of(network)
    gradients = learner.gradients(X, LABELS)
    learner.step(X, LABELS)
    for p, old, g in zip(network.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), old - 0.5 * g)


def test_update_every_without_learning_rate_sums_to_the_same():
    """Weights that do not move in between: k updates of SGD are one update with their sum."""
    network = network_with(hidden=[6])
    whole = seeded(copy.deepcopy(network), DFA()).gradients(X, LABELS)
    for every, updates in ((1, 12), (5, 3), (12, 1), (100, 1)):
        learner = seeded(copy.deepcopy(network), DFA(), sgd(1e-9), update_every=every)
        taken = []
        step = learner.optimizer.step

        def counted(step=step, learner=learner, taken=taken):
            taken.append([p.grad.clone() for p in learner.network.parameters()])
            step()

        learner.optimizer.step = counted
        learner.step(X, LABELS)
        assert len(taken) == updates
        total = [sum(g) for g in zip(*taken, strict=True)]
        assert max(relative(a, b) for a, b in zip(total, whole, strict=True)) < 1e-5


def test_update_every_step_changes_the_very_next_step():
    network = network_with()
    learner = seeded(network, DFA(), sgd(0.5), update_every=1)
    stream = learner.stream(4, horizon=12)
    for x_t in X[:3]:
        before = parameters_of(network)
        stream.step(x_t, LABELS)
        assert not torch.equal(before[-2], parameters_of(network)[-2])


def test_streaming_equals_training_on_the_whole():
    ends = []
    for streamed in (False, True):
        network = network_with()
        learner = seeded(network, FDFA(), update_every=3)
        for _ in range(2):
            if streamed:
                stream = learner.stream(4, horizon=12)
                for x_t in X:
                    stream.step(x_t, LABELS)
                stream.end()
            else:
                learner.step(X, LABELS)
        ends.append(parameters_of(network))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("filtered", [False, True])
def test_rate_pull_is_the_gradient_of_its_loss(filtered):
    """Against autograd: Σ_t pull_t · s_t, where a trace filtered by an integrator sums later pulls too."""
    network = small_network(lif=LIFS, readout="integrator")
    target = RateRegulariser(rate=0.1, strength=0.7, memory=5.0)
    got = seeded(
        network, DFA(scale=0.0, trace=PerSynapse(filtered=filtered)), rate_regulariser=target
    ).gradients(X, LABELS)[0]
    w = weights_of(network, requires_grad=True)
    spikes = simulate(w, X, spec_of(network)).spikes[0]
    average, pulls = torch.full((6,), 0.1, dtype=torch.float64), []
    for s in spikes.detach():
        average = average + (s.mean(0) - average) / 5.0
        pulls.append(0.7 * (average - 0.1) / 12)
    pull = torch.stack(pulls)
    if filtered:
        pull = pull.flip(0).cumsum(0).flip(0)
    loss = (pull.unsqueeze(1) * spikes).sum((0, 2)).mean()
    (expected,) = torch.autograd.grad(loss, list(w.values())[:1])
    assert relative(got, expected) < 1e-10


def test_rate_signal_is_the_derivative_of_the_penalty():
    target = RateRegulariser(rate=0.2, strength=0.5)
    r = torch.tensor([0.1, 0.2, 0.6], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad((0.5 * 0.5 * (r - 0.2) ** 2).sum(), r)
    torch.testing.assert_close(target.signal(r.detach()), g)
    spikes = torch.zeros(7, 2, 3, dtype=torch.float64)
    spikes[:, :, 1] = 1.0
    assert float(target.loss(spikes.mean((0, 1)))) == pytest.approx(0.25 * (0.04 + 0.64 + 0.04))


@pytest.mark.parametrize("start", [0.5, 3.0])
def test_rate_target_pulls_rates_to_it(start):
    network = small_network(
        lif=LIF(tau_mem=6e-3, surrogate=SURROGATE, reset="soft", decay_bits=None), gain=start, bias=True
    )
    learner = Trainer(
        network,
        DFA(scale=0.0),
        torch.optim.Adam(network.parameters(), lr=0.02),
        rate_regulariser=RateRegulariser(rate=0.2, strength=1.0, memory=20.0),
        engine="reference",
    )
    before = abs(float(learner.step(X, LABELS).rates[0]) - 0.2)
    for _ in range(80):
        stats = learner.step(X, LABELS)
    assert abs(float(stats.rates[0]) - 0.2) < min(0.1, before)


def test_stats():
    network = network_with(readout="leaky")
    run = network.run(X)
    stats = seeded(copy.deepcopy(network), DFA()).step(X, LABELS)
    torch.testing.assert_close(stats.scores, run.y.mean(0))
    for rate, spikes in zip(stats.rates, run.spikes, strict=True):
        assert float(rate) == pytest.approx(float(spikes.mean()))
    assert all(float(share) == 0 for share in stats.psi_zero), "a fast sigmoid is never zero"


@pytest.mark.parametrize("engine", ["events", "reference"])
def test_an_evaluation_counts_what_is_taken_for_what(engine):
    net = nf.Network(nf.Linear(6, 12), nf.LIF(), nf.Linear(12, 3), nf.LI())
    trainer = nf.Trainer(net, nf.DFA(), engine=engine)
    batches = [((torch.rand(8, n, 6) < 0.5).float(), torch.arange(n) % 3) for n in (7, 4)]
    found = trainer.evaluate(batches)
    wanted = torch.zeros(3, 3, dtype=torch.int64)
    for x, target in batches:
        for label, taken in zip(target, trainer.predict(x).argmax(1), strict=True):
            wanted[label, taken] += 1
    assert torch.equal(found.confusion, wanted)
    assert found.accuracy == pytest.approx(float(wanted.trace()) / 11)
    assert str(found).startswith(f"accuracy {found.accuracy:.1%}, loss ")
    values = nf.Trainer(net, nf.DFA(), engine=engine, loss=nf.MeanSquaredError())
    assert values.evaluate([(batches[0][0], torch.rand(7, 3))]).confusion is None


def test_a_rule_by_its_name():
    net = network_with()
    assert Trainer(net, "fdfa", engine="reference").rule == FDFA()
    with pytest.raises(UserError, match="unknown rule 'fdfaa': did you mean fdfa"):
        Trainer(net, "fdfaa")
    with pytest.raises(UserError, match="made like"):
        Trainer(net, FDFA)


def test_regression_targets_by_sample_and_by_step():
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    still = seeded(network_with(), DFA(), loss=MeanSquaredError()).gradients(X, values)
    moving = seeded(network_with(), DFA(), loss=MeanSquaredError()).gradients(X, values.expand(12, -1, -1))
    assert all(torch.equal(a, b) for a, b in zip(still, moving, strict=True))


def test_the_last_loss_teaches_nothing_before_the_end():
    network = network_with()
    learner = seeded(network, DFA(), sgd(0.5), loss=CrossEntropy(when="last"), update_every=1)
    before = parameters_of(network)
    stream = learner.stream(4, horizon=12)
    for x_t in X[:-1]:
        stream.step(x_t, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters_of(network), strict=True))
    stream.step(X[-1], LABELS)
    assert not any(torch.equal(a, b) for a, b in zip(before, parameters_of(network), strict=True))


def test_out_of_order_calls_and_bad_settings():
    learner = seeded(network_with(), DFA())
    stream = learner.stream(4, horizon=12)
    with pytest.raises(UserError, match="still open"):
        learner.step(X, LABELS)
    with pytest.raises(UserError, match="still open"):
        learner.stream(4)
    stream.end()
    for call in (lambda: stream.step(X[0], LABELS), stream.end):
        with pytest.raises(UserError, match="has ended"):
            call()
    with pytest.raises(UserError, match="update_every must be at least 1"):
        seeded(network_with(), DFA(), update_every=0)


@pytest.mark.parametrize(
    ("x", "target", "message"),
    [
        (X[:0], LABELS, "at least one step"),
        (X[0], LABELS, "time, batch, channels"),
        (X[:, :, :3], LABELS, "5 input channels"),
        (X, LABELS[:2], "4 samples"),
        (X, torch.tensor([0, 1, 2, 3]), "labels from 0 to 2"),
        (X, torch.tensor([0, -1, 2, 1]), "labels from 0 to 2"),
    ],
)
@pytest.mark.parametrize("call", ["step", "gradients"])
def test_bad_batches(call, x, target, message):
    network = network_with()
    learner = seeded(network, FDFA())
    before = parameters_of(network)
    with pytest.raises(UserError, match=message):
        getattr(learner, call)(x, target)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters_of(network), strict=True))
    learner.step(X, LABELS)  # still usable


@pytest.mark.parametrize("setting", [("v_threshold", 0.6), ("tau_mem", 2e-3), ("reset", "soft")])
@pytest.mark.parametrize("engine", ["events", "reference"])
def test_a_setting_that_is_changed_counts_from_then_on(engine, setting):
    network = small_network(lif=LIFS.copy(), hidden=[6, 5])
    trainer = Trainer(network, DFA(trace=PerNeuron()), sgd(0.0)(network.parameters()), engine=engine)
    trainer.step(X, LABELS)
    before = trainer.gradients(X, LABELS)
    scores = trainer.predict(X)
    for layer in network.hidden:
        setattr(layer.neuron, *setting)
    after = trainer.gradients(X, LABELS)
    other = Trainer(network, DFA(trace=PerNeuron()), engine="reference")
    other.rule_state = trainer.rule_state
    for ours, theirs in zip(after, other.gradients(X, LABELS), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert any(relative(a, b) > 1e-3 for a, b in zip(after, before, strict=True))
    torch.testing.assert_close(trainer.predict(X), other.predict(X))
    assert not torch.equal(scores, trainer.predict(X))


def test_a_setting_that_the_engine_does_not_execute_is_refused_when_it_is_changed():
    network = small_network(lif=LIFS.copy(), hidden=[6])
    trainer = Trainer(network, DFA(trace=PerNeuron()), engine="events")
    network.hidden[0].neuron.adaptation = 0.2
    with pytest.raises(
        UserError, match="does not fit neurons with time constants or thresholds of their own"
    ):
        trainer.step(X, LABELS)
