"""Traces computed by hand: decays are set to round numbers, every value below is on paper."""

import math

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import (
    LIF,
    LIFState,
    LIFTangent,
    decay,
    lif_step,
    lif_tangent_step,
    own_derivative,
    psi,
)
from neurofdfa.nn.surrogate import Triangular, heaviside, surrogate_spike

HALF = 1e-3 / math.log(2)  # time constant with a decay of 1/2 per millisecond
QUARTER = 1e-3 / math.log(4)


def run(lif, drives):
    zero = torch.zeros(1, 1, dtype=torch.float64)
    state = LIFState(zero, zero, zero)
    seen = []
    for drive in drives:
        state = lif_step(torch.full((1, 1), drive, dtype=torch.float64), state, lif)
        seen.append(tuple(float(x) for x in state[:3]))
    return [list(column) for column in zip(*seen, strict=True)]


def test_soft_reset():
    i, u, s = run(LIF(tau_mem=HALF, reset="soft", decay_bits=None), [0.75, 0.75, 0.75, 0.0, 2.25, 0.0])
    assert i == [0.75, 0.75, 0.75, 0.0, 2.25, 0.0]
    assert u == pytest.approx([0.75, 1.125, 0.3125, 0.15625, 2.328125, 0.1640625])
    assert s == [0, 1, 0, 0, 1, 0]


def test_hard_reset():
    i, u, s = run(LIF(tau_mem=HALF, reset="hard", decay_bits=None), [0.75, 0.75, 0.75, 0.0, 2.25, 0.0])
    assert i == [0.75, 0.75, 0.75, 0.0, 2.25, 0.0]
    assert u == pytest.approx([0.75, 1.125, 0.75, 0.375, 2.4375, 0.0])
    assert s == [0, 1, 0, 0, 1, 0]


def test_synaptic_current():
    i, u, s = run(LIF(tau_mem=HALF, tau_syn=QUARTER, reset="soft", decay_bits=None), [1.0, 0.0, 0.0, 1.0])
    assert i == pytest.approx([1.0, 0.25, 0.0625, 1.015625])
    assert u == pytest.approx([1.0, 0.75, 0.4375, 1.234375])
    assert s == [0, 0, 0, 1]


def test_hard_reset_leaves_the_current_alone():
    """Only the membrane is cleared: the synapse goes on driving it."""
    i, u, s = run(LIF(tau_mem=HALF, tau_syn=HALF, reset="hard", decay_bits=None), [1.5, 0.0, 0.0])
    assert i == pytest.approx([1.5, 0.75, 0.375])
    assert u == pytest.approx([1.5, 0.75, 0.75])
    assert s == [1, 0, 0]


def test_threshold_is_strict():
    for reset in ("soft", "hard"):
        assert run(LIF(v_threshold=0.5, reset=reset, decay_bits=None), [0.5])[2] == [0]
        assert run(LIF(v_threshold=0.5, reset=reset, decay_bits=None), [math.nextafter(0.5, 1)])[2] == [1]
    assert heaviside(torch.tensor([-1.0, 0.0, 1e-30])).tolist() == [0, 0, 1]


def test_soft_reset_subtracts_the_threshold_and_can_spike_again_at_once():
    _, u, s = run(LIF(tau_mem=HALF, v_threshold=0.5, reset="soft", decay_bits=None), [3.0, 0.0, 0.0])
    assert u == pytest.approx([3.0, 1.0, 0.0])
    assert s == [1, 1, 0]


def test_decays():
    lif = LIF(tau_mem=5e-3, tau_syn=2e-3, dt=1e-3, reset="soft", decay_bits=None)
    assert lif.beta == math.exp(-0.2)
    assert lif.alpha == math.exp(-0.5)
    assert LIF(tau_syn=0.0, reset="soft", decay_bits=None).alpha == 0.0
    assert decay(5e-3, 1e-3, 12) == round(math.exp(-0.2) * 4096) / 4096
    assert decay(1e9, 1e-3, 12) == 4095 / 4096, "a decay of 1 does not fit"
    assert LIF(decay_bits=12, reset="soft").beta * 4096 == int(LIF(decay_bits=12, reset="soft").beta * 4096)


@pytest.mark.parametrize(
    ("reset", "gradient", "expected"),
    [
        # before: u = 1.25, s = 1, θ = 1, triangular ψ of width 1: ψ(0.25) = 0.75
        ("soft", "detached", 0.5),
        ("soft", "attached", 0.5 - 1.0 * 0.75),
        ("hard", "detached", 0.0),
        ("hard", "attached", 0.0 - 0.5 * 1.25 * 0.75),
    ],
)
def test_own_derivative_by_hand(reset, gradient, expected):
    lif = LIF(
        tau_mem=HALF, reset=reset, reset_gradient=gradient, surrogate=Triangular(width=1.0), decay_bits=None
    )
    one = torch.ones(1, 1, dtype=torch.float64)
    before = LIFState(one, 1.25 * one, one)
    kept, lost = own_derivative(before, lif)
    assert float(kept - lost * psi(before, lif)) == pytest.approx(expected)
    # ṡ⁻ = ψ(0.25) u̇⁻
    tangent = lif_tangent_step(0.5 * one, LIFTangent(4 * one, 2 * one, 1.5 * one), before, 0.25 * one, lif)
    assert float(tangent.i) == 0.5, "no synaptic filter: the current forgets"
    assert float(tangent.u) == pytest.approx(2 * expected + 0.5)
    assert float(tangent.s) == pytest.approx(0.25 * (2 * expected + 0.5))


def test_tangent_filters_the_synaptic_current():
    one = torch.ones(1, 1, dtype=torch.float64)
    lif = LIF(tau_mem=HALF, tau_syn=QUARTER, reset="soft", decay_bits=None)
    tangent = lif_tangent_step(
        0.5 * one, LIFTangent(4 * one, 2 * one, one), LIFState(one, one, one), one, lif
    )
    assert [float(x) for x in tangent[:3]] == pytest.approx([1.5, 2.5, 2.5])


def test_every_spike_raises_the_threshold_for_a_while():
    """θ = 1, b = 0.5, ρ = ½, no leak to speak of: a = 0, 1, 0.5, 0.25 → thresholds 1, 1.5, 1.25, 1.125."""
    lif = LIF(tau_mem=1e-9, reset="soft", adaptation=0.5, tau_adapt=HALF, decay_bits=None)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    state, seen = LIFState(zero, zero, zero, zero), []
    for drive in (1.2, 2.4, 1.3, 1.1, 1.2):
        state = lif_step(torch.full((1, 1), drive, dtype=torch.float64), state, lif)
        seen.append((float(state.u), float(state.s), float(state.a)))
    # the reset takes θ, not the raised threshold: 2.4 − 1 < 1.5
    assert [round(x, 9) for x in sum(seen, ())] == [
        *(1.2, 1, 0), *(1.4, 0, 1), *(1.3, 1, 0.5), *(0.1, 0, 1.25), *(1.2, 0, 0.625)
    ]  # fmt: skip
    assert float(psi(state, lif)) == pytest.approx(float(lif.surrogate(torch.tensor(1.2 - 1 - 0.3125))))


def test_the_tangent_of_an_adaptive_threshold_by_hand():
    """u̇ = ½·2 + 0.5, ȧ = ½·4 + 3, ṡ = ¼ (u̇ − 0.1 ȧ)."""
    one = torch.ones(1, 1, dtype=torch.float64)
    lif = LIF(tau_mem=HALF, adaptation=0.1, tau_adapt=HALF, reset="soft", decay_bits=None)
    before = LIFState(one, one, one, one)
    tangent = lif_tangent_step(0.5 * one, LIFTangent(one, 2 * one, 3 * one, 4 * one), before, 0.25 * one, lif)
    assert [float(x) for x in tangent] == pytest.approx([0.5, 1.5, 0.25 * (1.5 - 0.5), 5.0])


def test_psi_is_taken_at_the_distance_from_threshold():
    lif = LIF(v_threshold=2.0, surrogate=Triangular(width=1.0, height=0.5), reset="soft", decay_bits=None)
    u = torch.tensor([[2.0, 1.5, 3.0]])
    assert psi(LIFState(u, u, u), lif).tolist() == [[0.5, 0.25, 0.0]]


def test_surrogate_spike_has_the_steps_value_and_psis_derivative():
    lif = LIF(surrogate=Triangular(width=1.0), reset="soft", decay_bits=None)
    d = torch.tensor([-0.25, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    s = surrogate_spike(lif.surrogate)(d)
    assert s.tolist() == [0, 0, 1]
    (gradient,) = torch.autograd.grad(s.sum(), d)
    assert gradient.tolist() == [0.75, 1.0, 0.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    x = torch.ones(2, 3, dtype=dtype)
    state = lif_step(x, LIFState(x, x, x, x), LIF(tau_syn=1e-3, reset="soft", decay_bits=None))
    assert all(part.dtype == dtype and part.shape == (2, 3) for part in state)


@pytest.mark.parametrize("name", ["dt", "v_threshold", "tau_adapt"])
@pytest.mark.parametrize("value", [0.0, -1e-3, math.nan, math.inf])
def test_bad_constants(name, value):
    with pytest.raises(UserError, match=f"{name} must be a finite number above 0"):
        LIF(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1e-3, math.nan])
def test_bad_tau_mem(value):
    """Without a leak it is infinite, which `IF` is."""
    with pytest.raises(UserError, match="tau_mem must be a number above 0"):
        LIF(tau_mem=value)


@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf])
def test_bad_tau_syn(value):
    with pytest.raises(UserError, match="tau_syn must be a finite number"):
        LIF(tau_syn=value, reset="soft", decay_bits=None)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_bad_adaptation(value):
    with pytest.raises(UserError, match="adaptation must be a finite number"):
        LIF(adaptation=value, reset="soft", decay_bits=None)


@pytest.mark.parametrize("bits", [0, -1, 54])
def test_bad_decay_bits(bits):
    with pytest.raises(UserError, match="decay_bits must be"):
        LIF(decay_bits=bits, reset="soft")


def test_bad_modes():
    with pytest.raises(UserError, match="reset must be 'hard' or 'soft', got 'gentle'"):
        LIF(reset="gentle", decay_bits=None)
    with pytest.raises(UserError, match="reset_gradient must be"):
        LIF(reset_gradient="maybe", reset="soft", decay_bits=None)
