"""Samples of unequal lengths: a padded batch is its samples on their own."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.events import notice
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.rules import BPTT, DFA, DKP, DRTP, FDFA, rule_named
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

LENGTHS = [12, 5, 9, 5]
LABELS = torch.tensor([0, 1, 2, 1])
X = spike_train(steps=12)
for place, own in enumerate(LENGTHS):
    X[own:, place] = 1.0  # whatever stands behind the end: it must not count
RULES = [DFA(), DKP(), DRTP(), BPTT(), BPTT(window=4), rule_named("local-loss"), rule_named("e-prop")]
NAMED = pytest.mark.parametrize("rule", RULES, ids=lambda rule: repr(rule)[:24])


def trainer_of(rule, **more):
    lif = LIF(tau_mem=6e-3, tau_syn=2e-3, surrogate=SURROGATE, decay_bits=None)
    readout = more.pop("readout", "integrator")
    network = small_network(lif=lif, hidden=[6, 5], bias=True, readout=readout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    settings = {"engine": "reference", "generator": torch.Generator().manual_seed(4)} | more
    return Trainer(network, rule, optimizer, **settings)


def alone(place):
    return X[: LENGTHS[place], place : place + 1], LABELS[place : place + 1]


@NAMED
@pytest.mark.parametrize("when", ["every-step", "last", 3])
@pytest.mark.parametrize("readout", ["integrator", "leaky"])
def test_a_batch_is_its_samples_on_their_own(rule, when, readout):
    def make():
        return trainer_of(rule, loss=CrossEntropy(when=when), readout=readout)

    batch = make()
    wanted = [torch.zeros_like(p) for p in batch.network.parameters()]
    measured = []
    for place in range(4):
        for total, one in zip(wanted, make().gradients(*alone(place)), strict=True):
            total += one / 4
        measured.append(make().step(*alone(place)))
    found = batch.gradients(X, LABELS, LENGTHS)
    assert any(bool(g.abs().sum() > 0) for g in found)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    before = [p.detach().clone() for p in batch.network.parameters()]
    scores = batch.predict(X, torch.tensor(LENGTHS))
    stats = batch.step(X, LABELS, torch.tensor(LENGTHS))
    torch.testing.assert_close(stats.loss, sum(one.loss for one in measured) / 4)
    torch.testing.assert_close(stats.rates, sum(one.rates for one in measured) / 4)
    torch.testing.assert_close(stats.psi_zero, sum(one.psi_zero for one in measured) / 4)
    torch.testing.assert_close(stats.scores, torch.cat([one.scores for one in measured]))
    for place in range(4):
        torch.testing.assert_close(scores[place : place + 1], make().predict(alone(place)[0]))
    for p, old, g in zip(batch.network.parameters(), before, wanted, strict=True):
        decays = p is batch.network.readout.synapse.weight
        kept = 1.0 - 0.1 * rule.readout_decay if decays else 1.0
        torch.testing.assert_close(p.detach(), kept * (old - 0.1 * g), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [DFA(), BPTT()], ids=["dfa", "bptt"])
def test_targets_over_time_and_batch_first(rule):
    values = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    there = trainer_of(rule, loss=MeanSquaredError()).gradients(X, values, LENGTHS)
    turned = trainer_of(rule, loss=MeanSquaredError(), batch_first=True)
    same = turned.gradients(X.transpose(0, 1), values.transpose(0, 1), LENGTHS)
    for a, b in zip(there, same, strict=True):
        torch.testing.assert_close(a, b)
    first = trainer_of(rule, batch_first=True).predict(X.transpose(0, 1), LENGTHS)
    torch.testing.assert_close(first, trainer_of(rule).predict(X, LENGTHS))


@pytest.mark.parametrize("rule", [DFA(), BPTT()], ids=["dfa", "bptt"])
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_loops_over_epochs_take_lengths_from_the_loader(rule, engine):
    trainer, own = trainer_of(rule, engine=engine), trainer_of(rule)
    singly = [trainer.evaluate([(x, y)]) for x, y in map(alone, range(4))]
    found = trainer.evaluate([(X, LABELS, LENGTHS)])
    assert found.loss == pytest.approx(sum(one.loss for one in singly) / 4)
    assert found.accuracy == sum(one.accuracy for one in singly) / 4
    assert found.samples == 4
    weighed = sum(one.rates[0] * n for one, n in zip(singly, LENGTHS, strict=True)) / sum(LENGTHS)
    assert found.rates[0] == pytest.approx(weighed)
    done = trainer.fit([(X, LABELS, torch.tensor(LENGTHS))], [(X, LABELS, LENGTHS)], progress=False)
    assert done[0].train_loss == pytest.approx(float(own.step(X, LABELS, LENGTHS).loss))
    with pytest.raises(UserError, match="a batch is"):
        trainer.fit([X], progress=False)


def test_whole_lengths_are_no_lengths():
    a, b = trainer_of(DFA()), trainer_of(DFA())
    a.step(X, LABELS, [12] * 4)
    b.step(X, LABELS)
    assert all(torch.equal(p, q) for p, q in zip(a.network.parameters(), b.network.parameters(), strict=True))


def test_probed_feedback_learns_too():
    trainer = trainer_of(FDFA(fraction=0.5))
    before = [b.clone() for b in trainer.rule_state.matrices]
    trainer.step(X, LABELS, LENGTHS)
    assert not any(torch.equal(a, b) for a, b in zip(before, trainer.rule_state.matrices, strict=True))


def test_estimates_weighed_by_the_error_are_left_to_the_reference(monkeypatch):
    monkeypatch.setattr(notice, "_told", set())  # it is said once per process
    rule = FDFA(weighting="error")
    trainer, reference = trainer_of(rule, engine="auto"), trainer_of(rule)
    with pytest.warns(UserWarning, match="lengths of their own: using the reference engine"):
        trainer.step(X, LABELS, LENGTHS)
    reference.step(X, LABELS, LENGTHS)
    for a, b in zip(trainer.network.parameters(), reference.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rule", [FDFA(), FDFA(every=2)], ids=["every batch", "every second"])
def test_a_batch_of_several_lengths_is_counted_once(rule):
    trainer = trainer_of(rule)
    for _ in range(3):
        trainer.step(X, LABELS, LENGTHS)
    assert trainer.rule_state.batches == 3
    assert trainer.rule_state.updates == (3 if rule.every == 1 else 2)


@pytest.mark.parametrize("rule", [DFA(), BPTT()], ids=["dfa", "bptt"])
def test_the_pull_on_firing_rates_is_spread_over_every_samples_own_steps(rule):
    strong, none = RateRegulariser(rate=0.3, strength=0.7, memory=50.0), RateRegulariser(strength=0.0)
    pulled, free = (trainer_of(rule, rate_regulariser=x) for x in (strong, none))
    found = pulled.gradients(X, LABELS, LENGTHS)
    pull = [a - b for a, b in zip(found, free.gradients(X, LABELS, LENGTHS), strict=True)]
    wanted = [torch.zeros_like(p) for p in pull]
    for place in range(4):
        trainer = trainer_of(rule, rate_regulariser=RateRegulariser(rate=0.3, strength=0.7, memory=1e9))
        trainer.rates = tuple(r - 0.2 for r in trainer.rates)
        for total, a, b in zip(
            wanted, trainer.gradients(*alone(place)), free.gradients(*alone(place)), strict=True
        ):
            total += (a - b) / 4
    if isinstance(rule, DFA):  # averages of 0.1 in place of those that start at the target
        pulled.rates = tuple(r - 0.2 for r in pulled.rates)
        pull = [
            a - b
            for a, b in zip(
                pulled.gradients(X, LABELS, LENGTHS), free.gradients(X, LABELS, LENGTHS), strict=True
            )
        ]
        for a, b in zip(pull, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)
        before, stats = pulled.rates, pulled.step(X, LABELS, LENGTHS)
        assert bool(stats.rates.sum() > 0)
        spikes = [0.0, 0.0]
        for place in range(4):
            seen = free.network.run(alone(place)[0]).spikes
            spikes = [a + b.sum((0, 1)) for a, b in zip(spikes, seen, strict=True)]
        share = 1 - (1 - 1 / 50) ** (sum(LENGTHS) / 4)
        for old, new, total in zip(before, pulled.rates, spikes, strict=True):
            torch.testing.assert_close(new, old + share * (total / sum(LENGTHS) - old))
    else:
        rates = [0.0, 0.0]
        for place in range(4):
            seen = free.network.run(alone(place)[0]).spikes
            rates = [a + b.sum((0, 1)) / sum(LENGTHS) for a, b in zip(rates, seen, strict=True)]
        penalty = sum(float(strong.loss(r)) for r in rates)
        more = pulled.step(X, LABELS, LENGTHS).loss - free.step(X, LABELS, LENGTHS).loss
        torch.testing.assert_close(float(more), penalty)


@pytest.mark.parametrize(
    ("lengths", "settings", "message"),
    [
        ([12, 5, 9], {}, "4 whole numbers from 1 to 12"),
        ([12, 5, 9, 0], {}, "4 whole numbers from 1 to 12"),
        ([12, 5, 9, 13], {}, "4 whole numbers from 1 to 12"),
        ([12.0, 5.0, 9.0, 5.0], {}, "4 whole numbers from 1 to 12"),
        (LENGTHS, {"update_every": 2}, "update_every"),
    ],
)
def test_what_does_not_go_together(lengths, settings, message):
    trainer = trainer_of(DFA(), **settings)
    with pytest.raises(UserError, match=message):
        trainer.step(X, LABELS, lengths)
    trainer.step(X, LABELS)
