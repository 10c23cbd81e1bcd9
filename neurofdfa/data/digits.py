"""The 1797 handwritten 8 × 8 digits that ship inside scikit-learn: real data without a download."""

from __future__ import annotations

import numpy as np
import torch

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.split import stratified_split

SPLIT_SEED = 1998
VALIDATION, TEST = 360, 360


def digits(steps: int, encode: Encoder) -> Dataset:
    """Load the digits (Alpaydin and Kaynak 1998): 1077 train, 360 validation, 360 test samples.

    The split is fixed and stratified; it does not depend on any seed of a run. Pixels 0…16 become 0…1.
    """
    # Imported here: scikit-learn takes a second that `neurofdfa --help` should not.
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.as_tensor((pixels / 16.0).astype(np.float32))
    targets = torch.as_tensor(labels.astype(np.int64))
    whole = Split(inputs, targets)
    parts = stratified_split(labels, (VALIDATION, TEST), np.random.default_rng(SPLIT_SEED))
    train, validation, test = (whole.select(torch.as_tensor(part)) for part in parts)
    return Dataset(
        name="digits",
        kind="static",
        n_in=inputs.shape[1],
        n_out=10,
        steps=steps,
        train=train,
        validation=validation,
        sealed_test=SealedSplit(test),
        encode=encode,
        shape=(1, 8, 8),
    )
