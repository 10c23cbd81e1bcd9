"""NaN and infinity are refused where they arise, by name, on every engine."""

import pytest
import torch

from neurofdfa.errors import Diverged, UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import MeanSquaredError
from neurofdfa.rules import BPTT, DFA, FDFA
from neurofdfa.train.finite import all_finite
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

X, LABELS = spike_train(steps=12), torch.tensor([0, 1, 2, 1])
NAN, INF = float("nan"), float("inf")
HOW = pytest.mark.parametrize(
    ("rule", "engine"),
    [(FDFA(), "events"), (FDFA(), "reference"), (DFA(), "events"), (DFA(), "reference"), (BPTT(), "auto")],
    ids=["fdfa-events", "fdfa-reference", "dfa-events", "dfa-reference", "bptt"],
)


def trainer_of(rule, engine, make=torch.optim.Adam, **more):
    lif = LIF(tau_mem=6e-3, tau_syn=2e-3, surrogate=SURROGATE, decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], bias=True)
    optimizer = make(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(4)
    return Trainer(network, rule, optimizer, engine=engine, generator=generator, **more)


def kept(trainer):
    return {name: tensor.clone() for name, tensor in trainer.state_dict().items()}


def assert_same(trainer, before):
    after = trainer.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@HOW
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_such_value_among_the_data_changes_nothing(rule, engine, value):
    trainer = trainer_of(rule, engine)
    trainer.step(X, LABELS)
    before, x = kept(trainer), X.clone()
    x[5, 2, 1] = value
    for call in (lambda: trainer.step(x, LABELS), lambda: trainer.gradients(x, LABELS)):
        with pytest.raises(UserError, match="inputs have values that are NaN or infinite"):
            call()
    with pytest.raises(UserError, match="inputs have values"):
        trainer.predict(x)
    assert_same(trainer, before)
    trainer.step(X, LABELS)


@HOW
def test_targets_too(rule, engine):
    trainer = trainer_of(rule, engine, loss=MeanSquaredError())
    before, target = kept(trainer), torch.zeros(4, 3)
    target[1, 2] = NAN
    with pytest.raises(UserError, match="targets have values"):
        trainer.step(X, target)
    assert_same(trainer, before)


@HOW
def test_gradients_that_overflow_are_not_applied_and_nothing_is_left_over(rule, engine):
    trainer, whole = (trainer_of(rule, engine, loss=MeanSquaredError()) for _ in range(2))
    target = torch.zeros(4, 3)
    trainer.step(X, target)
    whole.step(X, target)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    with pytest.raises(Diverged, match=r"the loss at the readout is|gradient of .* is NaN or infinite"):
        trainer.step(X, torch.full((4, 3), 1e308, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    trainer.step(X, target)
    if not isinstance(rule, FDFA):  # whose probes have been drawn
        whole.step(X, target)
        assert_same(trainer, kept(whole))


@HOW
@pytest.mark.parametrize(
    ("index", "name"), [(0, "hidden layer 1"), (1, "hidden layer 2"), (None, "the readout")]
)
def test_a_broken_network_does_not_look_silent(rule, engine, index, name):
    trainer = trainer_of(rule, engine)
    trainer.step(X, LABELS)
    layer = trainer.network.readout if index is None else trainer.network.hidden[index]
    with torch.no_grad():
        layer.synapse.weight[0, 0] = NAN
    for call in (
        lambda: trainer.step(X, LABELS),
        lambda: trainer.gradients(X, LABELS),
        lambda: trainer.predict(X),
        lambda: trainer.evaluate([(X, LABELS)]),
        lambda: trainer.fit([(X, LABELS)], progress=False),
    ):
        with pytest.raises(Diverged, match=f"{name} has weights that are NaN or infinite"):
            call()


@HOW
def test_an_update_that_breaks_the_weights_is_told_at_once(rule, engine):
    trainer = trainer_of(rule, engine, make=torch.optim.SGD)
    trainer.optimizer.param_groups[0]["lr"] = INF
    with pytest.raises(Diverged, match="has weights that are NaN or infinite"):
        trainer.step(X, LABELS)


class Interrupting(torch.optim.SGD):
    """An optimizer that Ctrl-C hits once."""

    pressed = False

    def step(self, closure=None):
        if self.pressed:
            self.pressed = False
            raise KeyboardInterrupt
        return super().step(closure)


@HOW
def test_an_interrupted_step_leaves_no_gradients_to_the_next(rule, engine):
    trainer = trainer_of(rule, engine, make=Interrupting)
    trainer.step(X, LABELS)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.optimizer.pressed = True
    with pytest.raises(KeyboardInterrupt):
        trainer.step(X, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    trainer.step(X, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    fresh = trainer_of(rule, engine, make=torch.optim.SGD)
    fresh.load_state_dict(trainer.state_dict())
    for a, b in zip(trainer.gradients(X, LABELS), fresh.gradients(X, LABELS), strict=True):
        torch.testing.assert_close(a, b)


def test_streams_refuse_them_too():
    for engine in ("events", "reference"):
        lif = LIF(tau_mem=6e-3, surrogate=SURROGATE, decay_bits=None)
        network = small_network(lif=lif, readout="leaky")
        trainer = Trainer(network, DFA(), engine=engine)
        stream = trainer.stream(4)
        stream.step(X[0], LABELS)
        with pytest.raises(UserError, match="inputs have values"):
            stream.step(torch.full_like(X[1], NAN), LABELS)
        stream.step(X[1], LABELS)
        stream.end()


def test_a_sum_that_overflows_is_no_value_that_does():
    assert all_finite([torch.full((4,), 3e38), torch.ones(2, dtype=torch.int64)])
    assert not all_finite([torch.ones(3), torch.tensor([1.0, NAN])])
    assert not all_finite([torch.tensor([INF, -INF])])
