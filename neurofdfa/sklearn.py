"""A spiking network as a classifier of scikit-learn: `fit`, `predict`, pipelines, cross-validation.

from neurofdfa.sklearn import SpikingClassifier

cross_val_score(SpikingClassifier(rule="fdfa", epochs=10), x, y)
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# (scikit-learn has no types)
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from neurofdfa.data.dataset import Presentation, Split
from neurofdfa.data.encode import encoder_named
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.rules import DEFAULT, rule_named
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Engine, Trainer

BATCH = 256
"""Samples at a time in prediction."""


class SpikingClassifier(ClassifierMixin, BaseEstimator):
    """Classifies feature vectors `[samples, features]` by a spiking network that learns online.

    Every feature is scaled to 0…1 by the range that it has in the training data. It has two channels, of
    which one says how high it is and the other how low, unless `two_sided` is False. Both are shown for
    `steps` time steps: as spikes whose probability is the value times `max_rate` ("poisson"), as one spike
    that comes the earlier the larger the value ("latency"), or as a constant current ("direct"). In
    prediction the random numbers are the same for every sample, so that a sample's class depends on nothing
    else.

    hidden: sizes of the hidden layers, bottom up. rule: a learning rule by name, such as "fdfa" or "bptt";
    rule_options: its settings. epochs, batch, lr: of training, with Adam. tau_mem: time constant of the
    membranes in seconds. rate: share of neurons that fire per step at the start. engine: "auto" takes the
    event engine where it can. random_state: a seed, or numpy's generator, of weights, order and spikes.

    After `fit`: `classes_`, `n_features_in_`, `network_` (a `neurofdfa.Network`), `trainer_`, and `history_`
    with the measures of each epoch.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        rule: str = DEFAULT.name,
        rule_options: dict[str, Any] | None = None,
        steps: int = 16,
        encoder: Literal["poisson", "latency", "direct"] = "poisson",
        max_rate: float = 0.5,
        two_sided: bool = True,
        epochs: int = 20,
        batch: int = 32,
        lr: float = 1e-2,
        tau_mem: float = 5e-3,
        rate: float = 0.06,
        engine: Engine = "auto",
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.rule = rule
        self.rule_options = rule_options
        self.steps = steps
        self.encoder = encoder
        self.max_rate = max_rate
        self.two_sided = two_sided
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.tau_mem = tau_mem
        self.rate = rate
        self.engine: Engine = engine
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "SpikingClassifier":
        """Learn from features `[samples, features]` and their classes, numbers or words.

        Raises ValueError for data that scikit-learn refuses, such as NaN or a single class.
        """
        given: Any = validate_data(self, X, y, dtype=np.float64)
        features, labels = given
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a classifier learns at least 2 classes, and y has 1 class: {self.classes_[0]!r}"
            )
        low, high = features.min(0), features.max(0)
        self.low_: NDArray[np.float64] = low
        self.range_: NDArray[np.float64] = np.where(high > low, high - low, 1.0)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        drawn = torch.Generator().manual_seed(seed)
        self.network_ = feed_forward(
            features.shape[1] * (2 if self.two_sided else 1),
            tuple(self.hidden),
            len(self.classes_),
            neuron=LIF(tau_mem=self.tau_mem),
            readout="leaky",
            generator=drawn,
        )
        split = self._split(features, numbers)
        if self.rate:
            scale_to_rate(self.network_, self._input(split.inputs[:BATCH]), self.rate)
        self.trainer_ = Trainer(
            self.network_,
            rule_named(self.rule, **(self.rule_options or {})),
            torch.optim.Adam(self.network_.parameters(), lr=self.lr),
            rate_regulariser=RateRegulariser(),
            engine=self.engine,
            batch_first=False,
            generator=drawn,
        )
        self.history_ = self.trainer_.fit(split, epochs=self.epochs, batch=self.batch, progress=False)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores `[samples, classes]` of the readout; of two classes their difference, `[samples]`."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Softmax of the scores, `[samples, classes]`, as the loss has it; not calibrated."""
        scores = self._scores(X)
        powers = np.exp(scores - scores.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each sample, `[samples]`, as `y` named it."""
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        features: Any = validate_data(self, X, dtype=np.float64, reset=False)
        scaled = self._scaled(features)
        found = [self.trainer_.predict(self._input(part)) for part in scaled.split(BATCH)]
        return torch.cat(found).double().numpy()

    def _input(self, scaled: torch.Tensor) -> torch.Tensor:
        """Inputs to predict from, `[T, B, n]`: the same random numbers for every sample."""
        fixed = torch.Generator().manual_seed(0)
        if self.encoder == "poisson":
            drawn = torch.rand(self.steps, 1, scaled.shape[1], generator=fixed)
            return (drawn < self.max_rate * scaled).float()
        return encoder_named(self.encoder)(scaled, self.steps, fixed)

    def _split(self, features: NDArray[np.float64], numbers: NDArray[np.int64]) -> Split:
        shown = Presentation(self.steps, encoder_named(self.encoder, max_rate=self.max_rate))
        return Split(self._scaled(features), torch.from_numpy(numbers.astype(np.int64)), shown)

    def _scaled(self, features: NDArray[np.float64]) -> torch.Tensor:
        high = np.clip((features - self.low_) / self.range_, 0.0, 1.0).astype(np.float32)
        return torch.from_numpy(np.hstack((high, 1.0 - high)) if self.two_sided else high)
