"""What the input says without a network: a linear readout on the spike count of every channel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.data.event_lists import Events
from neurofdfa.errors import UserError

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the penalty that are tried; the best on validation data counts."""
_BATCH = 256
_ITERATIONS = 500


class InputOnly(NamedTuple):
    """validation, test: accuracies, a share each. strength: inverse of the penalty, chosen on validation
    data; candidates: the validation accuracy of each one tried.
    """

    validation: float
    test: float
    strength: float
    candidates: tuple[tuple[float, float], ...]


def input_only(data: Dataset, strengths: Sequence[float] = STRENGTHS) -> InputOnly:
    """Multinomial logistic regression on each channel's sum over the steps; opens the test split.

    It knows neither when a channel spiked nor which channels did so together: whatever a network adds, it
    found in time, or in combinations of channels. Channels are standardised on the training samples.
    Raises `UserError` for regression, for no strength, and where the test split has been opened already.
    """
    found, mean, scale = _candidates(data, strengths)
    validation, strength, model = max(found, key=lambda one: one[0])
    last, true = _counts(data.open_test())
    test = float(model.score((last - mean) / scale, true))
    return InputOnly(validation, test, strength, tuple((s, accuracy) for accuracy, s, _ in found))


def validation_of_counts(data: Dataset, strengths: Sequence[float] = STRENGTHS) -> float:
    """The same readout's best validation accuracy; the test split stays shut."""
    return max(accuracy for accuracy, _, _ in _candidates(data, strengths)[0])


def _candidates(
    data: Dataset, strengths: Sequence[float]
) -> tuple[list[tuple[float, float, Any]], NDArray[Any], NDArray[Any]]:
    """Validation accuracy, strength and model of each; mean and scale of the channels."""
    if data.task != "classification":
        raise UserError(f"{data.name} has values to predict: a linear readout of classes cannot")
    if not strengths or min(strengths) <= 0.0:
        raise UserError(f"strengths {list(strengths)}: give at least one positive number")
    x, y = _counts(data.train)
    mean, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 0.0, spread, 1.0)
    held, wanted = _counts(data.validation)
    found: list[tuple[float, float, Any]] = []
    for strength in strengths:
        model = _fitted((x - mean) / scale, y, strength)
        found.append((float(model.score((held - mean) / scale, wanted)), strength, model))
    return found, mean, scale


def _fitted(x: NDArray[Any], y: NDArray[Any], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    model: Any = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    return model.fit(x, y)


def _counts(split: Split) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Each sample's sum over its steps, [N, n], and its class; nothing is augmented."""
    sums: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for batch in split.batches(_BATCH):
        x = batch[0].dense() if isinstance(batch[0], Events) else batch[0]
        sums.append(x.float().sum(0).cpu().numpy())
        labels.append(batch[1].cpu().numpy())
    return np.concatenate(sums), np.concatenate(labels)
