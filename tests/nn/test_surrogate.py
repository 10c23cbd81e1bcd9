import math

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.surrogate import SURROGATES, surrogate, surrogate_name

# area under ψ for height 1 and width 1, from calculus
AREAS = {"fast-sigmoid": 2.0, "triangular": 1.0, "arctan": 1.0, "sigmoid": 4.0}


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize(("width", "height"), [(0.5, 1.0), (0.25, 0.3), (2.0, 1.7)])
def test_height_symmetry_and_decrease(name, width, height):
    psi = surrogate(name, width, height)
    d = torch.linspace(0, 5, 101, dtype=torch.float64)
    assert float(psi(torch.zeros(1, dtype=torch.float64))) == pytest.approx(height, rel=1e-14)
    assert torch.equal(psi(d), psi(-d))
    assert (psi(d) >= 0).all()
    assert (psi(d).diff() <= 1e-16).all()
    assert (psi.width, psi.height) == (width, height)


@pytest.mark.parametrize("name", SURROGATES)
def test_area_scales_with_width_and_height(name):
    width, height = 0.5, 0.7
    d = torch.linspace(-4000, 4000, 8_000_001, dtype=torch.float64)
    area = float(torch.trapezoid(surrogate(name, width, height)(d), d))
    assert area == pytest.approx(AREAS[name] * width * height, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fast-sigmoid", 0.8 / 2.0**2),
        ("triangular", 0.0),
        ("arctan", 0.8 / (1 + math.pi**2)),
        ("sigmoid", 4 * 0.8 / (1 + math.exp(-1)) * (1 - 1 / (1 + math.exp(-1)))),
    ],
)
def test_value_one_width_away(name, value):
    distance = torch.tensor([[0.5, -0.5]], dtype=torch.float64)
    psi = surrogate(name, 0.5, 0.8)(distance)
    assert psi.shape == (1, 2)
    assert psi.tolist()[0] == pytest.approx([value, value], abs=1e-15)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept_and_far_values_are_finite(name, dtype):
    psi = surrogate(name)(torch.tensor([-1e30, -1e3, 0.0, 1e3, 1e30], dtype=dtype))
    assert psi.dtype == dtype
    assert psi.isfinite().all()


@pytest.mark.parametrize("name", SURROGATES)
def test_names_round_trip(name):
    assert surrogate_name(surrogate(name)) == name


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("which", ["width", "height"])
def test_bad_width_or_height(bad, which):
    with pytest.raises(UserError, match=f"surrogate {which} must be a positive number"):
        surrogate("triangular", **{which: bad})


def test_unknown_name():
    with pytest.raises(UserError, match="unknown surrogate 'boxcar': choose one of fast-sigmoid"):
        surrogate("boxcar")


def test_sigmoid_tails_vanish_alike_on_both_sides_in_single_precision():
    psi = surrogate("sigmoid", 1.0)(torch.tensor([-20.0, 20.0]))
    assert psi[0] == psi[1] > 0
