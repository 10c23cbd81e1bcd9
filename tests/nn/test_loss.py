import math

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.loss import (
    CrossEntropy,
    MeanSquaredError,
    SpikeCountError,
    loss_named,
    one_hot,
    step_target,
    step_weight,
)

Y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([2, 0, 1, 1])
VALUES = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "target"),
    [(CrossEntropy(), LABELS), (MeanSquaredError(), VALUES), (SpikeCountError(5.0, 1.0), LABELS)],
)
def test_error_is_the_gradient_of_the_value(loss, target):
    y = Y.clone().requires_grad_()
    value = loss.value(y, target)
    assert value.shape == (4,)
    (gradient,) = torch.autograd.grad(value.sum(), y)
    error = loss.error(Y, target)
    torch.testing.assert_close(error, gradient, rtol=1e-13, atol=1e-14)
    assert error.dtype == torch.float64
    assert not error.requires_grad


def test_values_by_hand():
    y = torch.zeros(1, 4, dtype=torch.float64)
    assert float(CrossEntropy().value(y, torch.tensor([2]))) == pytest.approx(math.log(4))
    assert CrossEntropy().error(y, torch.tensor([2])).tolist() == [[0.25, 0.25, -0.75, 0.25]]
    assert float(MeanSquaredError().value(y, torch.tensor([[1.0, 2, 0, 0]]))) == 2.5
    assert SpikeCountError(8.0, 1.0).error(y, torch.tensor([0])).tolist() == [[-8, -1, -1, -1]]
    assert float(SpikeCountError(8.0, 1.0).value(y, torch.tensor([0]))) == 0.5 * (64 + 3)


def test_cross_entropy_of_large_outputs_is_finite():
    """An integrator's outputs grow with the sequence."""
    y = torch.tensor([[1e4, -1e4, 0.0]])
    assert CrossEntropy().error(y, torch.tensor([1])).tolist() == [[1.0, -1.0, 0.0]]
    assert float(CrossEntropy().value(y, torch.tensor([1]))) == 2e4


def test_weights_over_time():
    every = [step_weight(CrossEntropy(), t, 5) for t in range(5)]
    last = [step_weight(CrossEntropy(when="last"), t, 5) for t in range(5)]
    assert every == [0.2] * 5
    assert last == [0, 0, 0, 0, 1]
    assert SpikeCountError().when == "last"
    assert [step_weight(CrossEntropy(when=3), t, 5) for t in range(5)] == [0, 0, 0, 0.5, 0.5]
    # a sequence that ends before its answer is judged at its end
    assert [step_weight(CrossEntropy(when=9), t, 3) for t in range(3)] == [0, 0, 1]


def test_targets_over_time():
    moving = torch.arange(24.0).view(4, 2, 3)
    assert torch.equal(step_target(moving, 2), moving[2])
    assert torch.equal(step_target(LABELS, 2), LABELS)
    assert torch.equal(step_target(VALUES, 2), VALUES)


def test_one_hot():
    assert one_hot(torch.tensor([1, 0]), torch.zeros(2, 3)).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_by_name():
    assert loss_named("cross-entropy") == CrossEntropy()
    assert loss_named("spike-count", "every-step").when == "every-step"
    with pytest.raises(UserError, match="unknown loss 'hinge': choose one of cross-entropy"):
        loss_named("hinge")
