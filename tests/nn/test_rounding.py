"""Grids: what rounds to what, and that rounding at random loses nothing on average."""

import pytest
import torch

from neurofdfa.nn.rounding import bounded, floating, floating_tree, matrix, whole


def test_rounding_at_random_is_unbiased_and_stays_next_door(generator: torch.Generator) -> None:
    x = torch.linspace(-2.3, 2.3, 24, dtype=torch.float64)
    drawn = torch.stack([whole(x, "stochastic", generator) for _ in range(4000)])
    assert bool(((drawn == x.floor()) | (drawn == x.ceil())).all())
    fraction = x - x.floor()
    error = (drawn.mean(0) - x).abs() / (fraction * (1 - fraction) / 4000).sqrt()
    assert float(error.max()) < 4.5
    assert torch.equal(whole(x, "nearest", generator), x.round())


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_whole_numbers_are_kept(rounding: str, generator: torch.Generator) -> None:
    x = torch.arange(-5.0, 6.0)
    assert torch.equal(whole(x, rounding, generator), x)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [1, 3, 7])
def test_block_floating_point(bits: int, generator: torch.Generator) -> None:
    x = (
        torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
        * torch.tensor([1e-9, 1e-3, 1, 7, 1e6])[:, None, None]
    )
    x[1] = 0.0
    rounded = floating(x, bits, "nearest", generator)
    for before, after in zip(x, rounded, strict=True):
        if not before.any():
            assert not after.any()
            continue
        step = 2.0 ** (int(torch.frexp(before.abs().max())[1]) - bits)
        codes = after / step
        assert torch.equal(codes, codes.round())
        assert float(codes.abs().max()) <= 2**bits - 1
        assert float((after - before).abs().max()) <= step * (1.0 if bits == 1 else 0.5 + 1e-9) or bits == 1
    assert torch.equal(floating(rounded, bits, "stochastic", generator), rounded)
    torch.testing.assert_close(floating(x, 24, "nearest", generator), x, rtol=0, atol=7 * 2**-20 * 1e6)


def test_samples_do_not_share_an_exponent(generator: torch.Generator) -> None:
    x = torch.rand(2, 6, generator=generator)
    louder = torch.cat([x[:1], 100 * x[1:]])
    assert torch.equal(floating(x, 4, "nearest", generator)[0], floating(louder, 4, "nearest", generator)[0])


def test_a_tensor_that_occurs_twice_is_rounded_once(generator: torch.Generator) -> None:
    x = torch.rand(2, 50, generator=generator)
    (first, second), number, nothing = floating_tree(((x, x), 0.3, None), 2, "stochastic", generator)
    assert first is second
    assert (number, nothing) == (0.3, None)


def test_errors_saturate(generator: torch.Generator) -> None:
    x = torch.tensor([-3.0, -0.6, -0.4, 0.0, 0.3, 0.9])
    assert bounded(x, 2, 1.0, "nearest", generator).tolist() == [-1, -1, 0, 0, 0, 1]
    torch.testing.assert_close(bounded(x, 20, 4.0, "nearest", generator), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 20])
def test_matrices(bits: int, generator: torch.Generator) -> None:
    b = torch.randn(300, 10, generator=generator, dtype=torch.float64)
    rounded = matrix(b, bits)
    assert len(rounded.unique()) <= (3 if bits == 1 else 2**bits)
    cosine = float((b * rounded).sum() / b.norm() / rounded.norm())
    assert cosine > {1: 0.89, 2: 0.91, 4: 0.993}.get(bits, 0.9999)
    assert not matrix(torch.zeros(3, 2), bits).any()
