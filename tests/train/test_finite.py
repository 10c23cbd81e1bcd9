"""NaN and infinity are refused where they arise, by name, on every engine."""

import pytest
import torch

from neurofdfa.errors import Diverged, UserError
from neurofdfa.events.stream import RunStream
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


ENGINES = pytest.mark.parametrize("engine", ["events", "reference"])


def streaming(engine, loss=None, **more):
    lif = LIF(tau_mem=6e-3, surrogate=SURROGATE, decay_bits=None)
    network = small_network(lif=lif, readout="leaky")
    return Trainer(network, DFA(), engine=engine, loss=loss, **more)


@ENGINES
def test_a_step_that_a_stream_refuses_moves_nothing(engine):
    trainer, undisturbed = streaming(engine), streaming(engine)
    stream, whole = trainer.stream(4), undisturbed.stream(4)
    refused = [
        (torch.full_like(X[1], NAN), LABELS, "inputs have values"),
        (X[1], LABELS + 1, "whole-number labels from 0 to 2"),
        (X[1], LABELS - 1, "whole-number labels from 0 to 2"),
        (X[1], LABELS.double(), "whole-number labels from 0 to 2"),
        (X[1], torch.zeros(4, 3), "takes labels"),
        (X[1, :2], LABELS, "a step of this stream is"),
        ("nonsense", LABELS, "inputs are numbers"),
        (X[1], None, "targets are numbers"),
    ]
    if engine == "events":
        refused.append((0.5 * torch.ones_like(X[1]), LABELS, "this stream takes spikes"))
    for t, x_t in enumerate(X):
        if t in (0, 1, 5):
            for x, target, says in refused:
                with pytest.raises(UserError, match=says):
                    stream.step(x, target)
        assert torch.equal(stream.step(x_t, LABELS), whole.step(x_t, LABELS))
    assert torch.equal(stream.end().loss, whole.end().loss)
    assert_same(trainer, kept(undisturbed))


def test_inference_that_refuses_a_step_moves_nothing():
    trainer = streaming("events")
    stream, whole = (RunStream(trainer.network, 4) for _ in range(2))
    for x_t in X:
        for bad in (0.5, NAN, 2.0):
            with pytest.raises(UserError, match="this stream takes spikes"):
                stream.step(torch.full_like(x_t, bad))
        assert torch.equal(stream.step(x_t), whole.step(x_t))
    with pytest.raises(UserError, match="inputs have values"):
        RunStream(trainer.network, 4, values=True).step(torch.full_like(X[0], NAN))


@ENGINES
@pytest.mark.parametrize("every", [None, 1, 5])
def test_a_stream_that_breaks_leaves_no_gradient_to_what_is_learnt_next(engine, every):
    trainer = streaming(engine, MeanSquaredError(), update_every=every)
    stream = trainer.stream(4)

    def learn():
        for x_t in X[:4]:
            stream.step(x_t, torch.full((4, 3), 1e200, dtype=torch.float64))
        stream.end()

    with pytest.raises(Diverged, match=r"the loss at the readout is inf|has weights that are NaN"):
        learn()
    with pytest.raises(UserError, match="this stream has ended"):
        stream.step(X[0], torch.zeros(4, 3))
    assert not any(p.grad is not None and p.grad.any() for p in trainer.network.parameters())


@ENGINES
def test_an_interrupted_stream_ends_and_leaves_no_gradient(engine):
    trainer = streaming(engine, update_every=2)
    trainer.optimizer = Interrupting(trainer.network.parameters(), lr=0.1)
    trainer.optimizer.pressed = True
    stream = trainer.stream(4)
    stream.step(X[0], LABELS)
    with pytest.raises(KeyboardInterrupt):
        stream.step(X[1], LABELS)
    assert stream.ended
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    assert not any(p.grad is not None and p.grad.any() for p in trainer.network.parameters())
    trainer.step(X, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_a_sum_that_overflows_is_no_value_that_does():
    assert all_finite([torch.full((4,), 3e38), torch.ones(2, dtype=torch.int64)])
    assert not all_finite([torch.ones(3), torch.tensor([1.0, NAN])])
    assert not all_finite([torch.tensor([INF, -INF])])
