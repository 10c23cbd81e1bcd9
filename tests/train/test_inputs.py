"""Inputs and targets as users have them: every engine, and BPTT, compute the same from them or refuse them
with the same line.
"""

import numpy as np
import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.events import Events
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.rules import BPTT, FDFA
from neurofdfa.train.batch import _warn_of_order
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

X, LABELS = spike_train(steps=12), torch.tensor([0, 1, 2, 1])
VALUES = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
PIXELS = (200 * X + 17 * X.flip(2)).to(torch.uint8)
HOW = pytest.mark.parametrize(
    ("rule", "engine"),
    [(FDFA(), "events"), (FDFA(), "reference"), (BPTT(), "auto")],
    ids=["events", "reference", "bptt"],
)
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def spaced(x):
    """The same numbers, every second one of a tensor twice as large."""
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


FORMS = {
    "float32": lambda x: x.float(),
    "float64": lambda x: x.double(),
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "uint8": lambda x: x.to(torch.uint8),
    "int8": lambda x: x.to(torch.int8),
    "int32": lambda x: x.int(),
    "int64": lambda x: x.long(),
    "spaced": spaced,
    "another order": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    "wants a gradient": lambda x: x.float().requires_grad_(),
    "an array": lambda x: x.numpy(),
    "an array of uint8": lambda x: x.numpy().astype(np.uint8),
    "lists": lambda x: x.tolist(),
}
SPIKES_ALONE = {"bool": lambda x: x.bool(), "events": Events.of}


def trainer_of(rule, engine, dtype=torch.float32, **more):
    lif = LIF(tau_mem=6e-3, tau_syn=2e-3, surrogate=SURROGATE, decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], bias=True).to(dtype)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(4)
    more = {"batch_first": False, "loss": CrossEntropy()} | more
    return Trainer(network, rule, optimizer, engine=engine, generator=generator, **more)


def learnt(trainer, x, target):
    """Everything that two batches and a look at them leave behind."""
    gradients = trainer.gradients(x, target)
    stats = [*trainer.step(x, target), *trainer.step(x, target)]
    found = trainer.evaluate([(x, target)])
    return [*gradients, *stats, trainer.predict(x), torch.tensor(found.loss), *trainer.network.parameters()]


def same(a, b, *, bits=True):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.dtype == other.dtype
        if bits:
            assert torch.equal(one.detach(), other.detach())
        else:
            torch.testing.assert_close(one.detach(), other.detach())


@HOW
@DTYPE
@pytest.mark.parametrize("form", [*FORMS, *SPIKES_ALONE])
def test_spikes_of_every_type_teach_the_same(rule, engine, dtype, form):
    given = (FORMS | SPIKES_ALONE)[form](X)
    same(
        learnt(trainer_of(rule, engine, dtype), given, LABELS),
        learnt(trainer_of(rule, engine, dtype), X.to(dtype), LABELS),
        bits=form != "events",  # lists are added up in another order than a full tensor
    )


@HOW
@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("int8", "bfloat16")])
def test_values_of_every_type_teach_the_same(rule, engine, form):
    same(
        learnt(trainer_of(rule, engine), FORMS[form](PIXELS), LABELS),
        learnt(trainer_of(rule, engine), PIXELS.float(), LABELS),
    )


@HOW
@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_every_whole_type(rule, engine, kind):
    expected = learnt(trainer_of(rule, engine), X, LABELS)
    same(learnt(trainer_of(rule, engine), X, LABELS.to(kind)), expected)
    same(learnt(trainer_of(rule, engine), X, LABELS.numpy()), expected)
    same(learnt(trainer_of(rule, engine), X, LABELS.tolist()), expected)


@HOW
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.float64, torch.bool])
def test_values_to_reach_of_every_type(rule, engine, kind):
    squared = {"loss": MeanSquaredError()}
    expected = learnt(trainer_of(rule, engine, **squared), X, VALUES)
    same(learnt(trainer_of(rule, engine, **squared), X, VALUES.to(kind)), expected)
    same(learnt(trainer_of(rule, engine, **squared), X, VALUES.numpy()), expected)


@HOW
@pytest.mark.parametrize(
    ("x", "target", "loss", "message"),
    [
        (X, VALUES, CrossEntropy(), "CrossEntropy takes labels.*target.argmax"),
        (X, VALUES.long(), CrossEntropy(), "CrossEntropy takes labels.*target.argmax"),
        (X, LABELS, MeanSquaredError(), "MeanSquaredError takes values.*one_hot"),
        (X, LABELS.float(), CrossEntropy(), "whole-number labels from 0 to 2"),
        (X, LABELS + 1, CrossEntropy(), "whole-number labels from 0 to 2"),
        (X, LABELS[:, None], CrossEntropy(), "targets .*do not fit"),
        (X.to(torch.complex64), LABELS, CrossEntropy(), "got complex ones"),
        (X[..., :3], LABELS, CrossEntropy(), "5 input channels"),
        (X[:, :0], LABELS[:0], CrossEntropy(), "at least one step and sample"),
        ("spikes", LABELS, CrossEntropy(), "inputs are numbers"),
        ([[1.0], [1.0, 2.0]], LABELS, CrossEntropy(), "inputs are numbers"),
        (X, "labels", CrossEntropy(), "targets are numbers"),
        (X, None, CrossEntropy(), "targets are numbers"),
        (np.array([["a"]]), LABELS, CrossEntropy(), "inputs are numbers"),
    ],
)
def test_the_same_refusal_everywhere(rule, engine, x, target, loss, message):
    trainer = trainer_of(rule, engine, loss=loss)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    for call in (trainer.step, trainer.gradients, lambda x, target: trainer.evaluate([(x, target)])):
        with pytest.raises(UserError, match=message):
            call(x, target)
    same(before, list(trainer.network.parameters()))


@HOW
def test_under_another_default_type(rule, engine):
    """`set_default_dtype(float64)` makes weights of it, and a network of float32 stays one."""
    start = [trainer_of(rule, engine, dtype) for dtype in (torch.float64, torch.float32)]
    expected = learnt(trainer_of(rule, engine, torch.float64), X.double(), LABELS)
    single = learnt(trainer_of(rule, engine), X.float(), LABELS)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        made = [trainer_of(rule, engine, dtype) for dtype in (torch.float64, torch.float32)]
        for trainer, like in zip(made, start, strict=True):
            trainer.network.load_state_dict(like.network.state_dict())
        found, again = learnt(made[0], X.float(), LABELS), learnt(made[1], X.double(), LABELS)
    finally:
        torch.set_default_dtype(before)
    for a, b in ((found, expected), (again, single)):
        for one, other in zip(a, b, strict=True):
            torch.testing.assert_close(one.detach(), other.detach(), check_dtype=False)


@HOW
def test_batch_first_is_said_once(rule, engine):
    expected = learnt(trainer_of(rule, engine), X, LABELS)
    same(learnt(trainer_of(rule, engine, batch_first=True), X.transpose(0, 1), LABELS), expected)


@HOW
@pytest.mark.parametrize("batch_first", [None, False])
def test_batch_first_is_not_learnt_as_time_major(rule, engine, batch_first):
    trainer = trainer_of(rule, engine, batch_first=batch_first)
    turned, values = X.transpose(0, 1), VALUES.expand(12, 4, 3)
    for call in (trainer.step, trainer.gradients, lambda x, target: trainer.evaluate([(x, target)])):
        with pytest.raises(
            UserError, match="these data are batch-first, make the Trainer with batch_first=True"
        ):
            call(turned, LABELS)
    squared = trainer_of(rule, engine, batch_first=batch_first, loss=MeanSquaredError())
    with pytest.raises(UserError, match="batch_first=True"):
        squared.step(turned, values)
    if batch_first is None:  # nothing tells steps from samples here, and nobody has said it
        for x, target in ((turned, values.transpose(0, 1)), (X[:4], VALUES.expand(4, 4, 3))):
            _warn_of_order.cache_clear()
            with pytest.warns(UserWarning, match="do not tell whether these data are batch-first"):
                squared.step(x, target)
    other = trainer_of(rule, engine, batch_first=True)
    with pytest.raises(UserError, match=r"time-major,\s+make the Trainer with batch_first=False"):
        other.step(X, LABELS)
