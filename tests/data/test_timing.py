from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.data.load import load
from neurofdfa.data.randman import randman
from neurofdfa.data.timing import cue_accumulation, delayed_xor, pattern
from neurofdfa.errors import UserError


def xy(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.inputs.numpy().astype(np.float64), split.targets.numpy()


def probe(data: Dataset, feature: str) -> float:
    """Validation accuracy of a linear classifier on spike counts, or on the whole raster."""
    (x, y), (x_val, y_val) = xy(data.train), xy(data.validation)
    if feature == "counts":
        x, x_val = x.sum(axis=1), x_val.sum(axis=1)
    flat, flat_val = x.reshape(len(x), -1), x_val.reshape(len(x_val), -1)
    return float(LogisticRegression(C=0.1, max_iter=200).fit(flat, y).score(flat_val, y_val))


@pytest.fixture(scope="module")
def manifolds() -> Dataset:
    return randman(classes=10, train=1000, validation=500, test=50)


def test_every_input_of_a_manifold_fires_exactly_once(manifolds: Dataset) -> None:
    for split in (manifolds.train, manifolds.validation, manifolds.open_test()):
        assert (split.inputs.sum(dim=1) == 1).all()


def test_manifold_rates_carry_nothing_and_times_do(manifolds: Dataset) -> None:
    assert probe(manifolds, "counts") == pytest.approx(0.1, abs=0.02)
    assert probe(manifolds, "raster") > 0.5
    (x, y), (x_val, y_val) = xy(manifolds.train), xy(manifolds.validation)
    neighbours = KNeighborsClassifier(3).fit(x.argmax(axis=1), y)
    assert neighbours.score(x_val.argmax(axis=1), y_val) > 0.95


def test_manifold_difficulty_can_be_chosen() -> None:
    easy = randman(classes=2, train=600, validation=300, test=10)
    hard = randman(classes=20, train=600, validation=300, test=20)
    assert probe(easy, "raster") > 0.85
    assert probe(hard, "raster") < probe(easy, "raster")


def test_smooth_manifolds_have_slowly_varying_times() -> None:
    def roughness(smoothness: float) -> float:
        data = randman(classes=2, smoothness=smoothness, n_in=12, steps=100, train=400, validation=2, test=2)
        times = data.train.inputs[data.train.targets == 0].float().argmax(dim=1).float()
        distance = torch.cdist(times, times).fill_diagonal_(float("inf"))
        return float(distance.min(dim=1).values.mean())

    assert roughness(3.0) < 0.5 * roughness(0.5)


def test_delayed_xor_needs_both_symbols_and_the_order_of_spikes() -> None:
    data = delayed_xor(train=1500, validation=600, test=10)
    assert (data.n_in, data.n_out, data.steps, data.answer_from) == (11, 2, 50, 40)
    assert probe(data, "counts") < 0.58
    assert probe(data, "raster") < 0.62  # XOR is not linear, whatever the resolution in time


def test_delayed_xor_by_hand() -> None:
    data = delayed_xor(
        steps=9, channels=3, answer_steps=2, delay_jitter=0, background=0.0, train=8, validation=4, test=4
    )
    seen: set[tuple[bool, bool]] = set()
    for sample, label in zip(data.train.inputs, data.train.targets.tolist(), strict=True):
        first, second = sample[:3, :3], sample[4:7, :3]
        up, down = torch.eye(3, dtype=torch.uint8), torch.eye(3, dtype=torch.uint8).flip(0)
        for symbol in (first, second):
            assert torch.equal(symbol, up) or torch.equal(symbol, down)
        assert sample[3].sum() == 0
        assert sample[:, 3].tolist() == [0] * 7 + [1, 1]
        assert label == int(not torch.equal(first, second))
        seen.add((torch.equal(first, up), torch.equal(second, up)))
    assert len(seen) == 4


def test_cue_accumulation_asks_for_the_majority_after_the_cues() -> None:
    data = cue_accumulation(background=0.0, rate=0.9, train=300, validation=100, test=10)
    x, y = xy(data.train)
    left, right, recall, noise = (x[:, :, k * 10 : k * 10 + 10] for k in range(4))

    def cues(side: np.ndarray) -> np.ndarray:
        return np.stack([side[:, k * 8 : k * 8 + 5].any(axis=(1, 2)) for k in range(7)]).sum(axis=0)

    assert ((cues(left) + cues(right)) == 7).all()
    assert (y == (cues(right) > cues(left))).all()
    assert 0.4 < y.mean() < 0.6
    assert not left[:, data.answer_from :].any()
    assert not recall[:, : data.answer_from].any()
    assert recall[:, data.answer_from :].mean() == pytest.approx(0.9, abs=0.02)
    assert not noise.any()


def test_pattern_targets_follow_from_the_frozen_input() -> None:
    data = pattern(background=0.0, train=40, validation=8, test=8)
    assert data.task == "regression"
    assert data.train.targets.shape == (40, 100, 3)
    assert data.train.targets.abs().max() <= 1.0
    assert torch.allclose(data.train.targets.abs().amax(dim=1), torch.ones(40, 3))
    assert len(torch.unique(data.train.inputs.flatten(1), dim=0)) == 4
    for sample, target in zip(data.validation.inputs, data.validation.targets, strict=True):
        same = (data.train.inputs == sample).flatten(1).all(dim=1)
        assert same.any()
        assert (data.train.targets[same] == target).all()
    noisy = pattern(train=40, validation=8, test=8)
    assert len(torch.unique(noisy.train.inputs.flatten(1), dim=0)) == 40


@pytest.mark.parametrize("name", ["randman", "delayed-xor", "cue-accumulation", "pattern"])
def test_generated_data_repeat_and_their_splits_differ(name: str) -> None:
    options: dict[str, object] = {"train": 60, "validation": 40, "test": 40}
    one, two = load(name, seed=3, **options), load(name, seed=3, **options)
    test = one.open_test()
    assert torch.equal(one.train.inputs, two.train.inputs)
    assert torch.equal(one.train.targets, two.train.targets)
    assert torch.equal(test.inputs, two.open_test().inputs)
    assert not torch.equal(one.validation.inputs, test.inputs)
    assert not torch.equal(one.train.inputs, load(name, seed=4, **options).train.inputs)
    # A larger training split leaves the others, and the task, as they are.
    more = load(name, seed=3, **options | {"train": 90})
    assert torch.equal(more.validation.inputs, one.validation.inputs)
    assert one.train.inputs.max() == 1
    if one.task == "classification":
        counts = test.targets.bincount(minlength=one.n_out)
        assert counts.min() > 0


BAD = [
    ("randman", {"steps": 1}, "2 time steps"),
    ("randman", {"classes": 1}, "2 classes"),
    ("randman", {"n_in": 0}, "n_in is 0"),
    ("randman", {"smoothness": float("nan")}, "smoothness"),
    ("randman", {"train": -1}, "train is -1"),
    ("delayed-xor", {"steps": 33}, "34 time steps"),
    ("delayed-xor", {"delay_jitter": -1}, "delay_jitter"),
    ("delayed-xor", {"background": 1.0}, "background is 1.0"),
    ("cue-accumulation", {"cues": 6}, "odd"),
    ("cue-accumulation", {"steps": 60}, "71 time steps"),
    ("cue-accumulation", {"gap_steps": -1}, "gap_steps"),
    ("cue-accumulation", {"rate": float("nan")}, "rate is nan"),
    ("pattern", {"patterns": 0}, "patterns is 0"),
    ("pattern", {"steps": 5}, "10 time steps"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_sizes_that_make_no_task(name: str, options: dict[str, object], message: str) -> None:
    steps = options.pop("steps", None)
    with pytest.raises(UserError, match=message) as caught:
        load(name, steps=steps, **options)  # type: ignore[arg-type]
    assert name in str(caught.value)
