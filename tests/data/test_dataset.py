from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.digits import digits
from neurofdfa.data.encode import poisson
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError


def small_split(n: int = 6) -> Split:
    return Split(torch.arange(n * 2).reshape(n, 2).float(), torch.arange(n) % 2)


def test_the_test_split_opens_once() -> None:
    test = small_split(4)
    data = Dataset("toy", "static", 2, 2, 5, small_split(), small_split(), SealedSplit(test))
    assert not data.test_opened
    assert data.test_size == 4
    assert data.open_test().inputs is test.inputs
    assert data.test_opened
    with pytest.raises(UserError, match="opened already"):
        data.open_test()


def test_the_sealed_split_does_not_show_its_contents() -> None:
    test = small_split(4)
    data = Dataset("toy", "static", 2, 2, 5, small_split(), small_split(), SealedSplit(test))
    assert "sealed" in repr(SealedSplit(test))
    assert not any(value is test for value in vars(data).values())
    assert not {name for name in vars(data.sealed_test) if not name.startswith("_SealedSplit__")}
    assert not data.test_opened


def test_split_selects_and_refuses_halves_that_do_not_match() -> None:
    split = small_split()
    assert split.select(torch.tensor([4, 1])).inputs.tolist() == [[8.0, 9.0], [2.0, 3.0]]
    assert split.select(slice(2)).targets.tolist() == [0, 1]
    with pytest.raises(UserError, match="one target per input"):
        Split(torch.zeros(3, 2), torch.zeros(2))


@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=8),
    share=st.floats(0.05, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
def test_stratified_split_is_a_partition_in_proportion(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    size = max(1, int(share * len(labels)))
    parts = stratified_split(labels, (size, size), np.random.default_rng(seed))
    assert [len(p) for p in parts] == [len(labels) - 2 * size, size, size]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part in parts[1:]:
        got = np.bincount(labels[part], minlength=len(counts))
        assert np.abs(got - np.array(counts) * size / len(labels)).max() <= 1.0
    assert set(labels[parts[0]]) == set(range(len(counts)))
    again = stratified_split(labels, (size, size), np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


def test_stratified_split_keeps_every_class_in_the_rest() -> None:
    labels = np.array([0] * 50 + [1])
    rest, part = stratified_split(labels, (25,), np.random.default_rng(0))
    assert 1 in labels[rest]
    assert len(part) == 25
    with pytest.raises(UserError, match="smaller"):
        stratified_split(labels, (51,), np.random.default_rng(0))
    with pytest.raises(UserError, match="without training samples"):
        stratified_split(np.arange(10), (2,), np.random.default_rng(0))


def test_digits_are_split_once_and_for_all() -> None:
    first, second = digits(16, poisson), digits(16, poisson)
    assert (len(first.train), len(first.validation), first.test_size) == (1077, 360, 360)
    test = first.open_test()
    assert torch.equal(test.inputs, second.open_test().inputs)
    everything = torch.cat([first.train.inputs, first.validation.inputs, test.inputs])
    assert everything.min() == 0.0
    assert everything.max() == 1.0
    # No image is in two splits (the 1797 images are distinct).
    assert len(torch.unique(everything, dim=0)) == 1797
    for split in (first.train, first.validation, test):
        share = split.targets.bincount(minlength=10) / len(split)
        assert share.min() > 0.09
        assert share.max() < 0.11
