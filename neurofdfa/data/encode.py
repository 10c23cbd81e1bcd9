"""From intensities to input over time. Every encoder maps [B, n] in 0…1 to time-major [T, B, n].

All of them work on any device and take the generator that is handed in; direct and latency ignore it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from neurofdfa.errors import UserError

Encoder = Callable[[torch.Tensor, int, torch.Generator], torch.Tensor]
"""(intensities [B, n] in 0…1, steps T, generator) → input [T, B, n]."""
DIRECT, POISSON, LATENCY = "direct", "poisson", "latency"


def direct(
    intensities: torch.Tensor,
    steps: int,
    generator: torch.Generator | None = None,
    *,
    gain: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Constant current: x[t, b, i] = gain · intensity[b, i]. Not spikes: the first layer does the spiking.

    Returns a read-only view [T, B, n] (no memory per step).
    """
    del generator
    return (intensities * gain).to(dtype).expand(steps, *intensities.shape)


def poisson(
    intensities: torch.Tensor,
    steps: int,
    generator: torch.Generator,
    *,
    max_rate: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Rate code: s[t, b, i] ~ Bernoulli(max_rate · intensity[b, i]), independent in t, b and i.

    max_rate: probability of a spike per step at intensity 1. Spikes [T, B, n] of 0 and 1.
    Probabilities are rounded to multiples of 2⁻¹⁶ (four draws from one 64-bit number; 0 and 1 are exact).
    The draws are made sample after sample: on the CPU, a sample's spikes do not depend on the batch size.
    """
    batch, n = intensities.shape
    probability = intensities.float() * max_rate
    words = torch.empty(batch, -(-steps * n // 4), dtype=torch.int64, device=intensities.device)
    torch.randint(-(2**63), 2**63 - 1, words.shape, generator=generator, out=words)
    draws = words.view(torch.int16)[:, : steps * n].reshape(batch, steps, n)
    threshold = (torch.round(probability * 65536.0) - 32768.0).clamp(max=32767.0).to(torch.int16)
    spikes = torch.empty(steps, batch, n, dtype=dtype, device=intensities.device)
    for t in range(steps):  # compares, converts and makes time-major in one pass over memory
        torch.lt(draws[:, t], threshold, out=spikes[t])
    if bool((certain := probability >= 1.0).any()):
        spikes[:, certain] = 1
    return spikes


def latency(
    intensities: torch.Tensor,
    steps: int,
    generator: torch.Generator | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """One spike per input, earlier when brighter, at t = round((1 − intensity) · (T − 1)); none for 0.

    Spikes [T, B, n] of 0 and 1.
    """
    del generator
    when = torch.round((1.0 - intensities.float()) * (steps - 1)).to(torch.int64)
    spikes = torch.zeros(steps, *intensities.shape, dtype=dtype, device=intensities.device)
    return spikes.scatter_(0, when.unsqueeze(0), (intensities > 0).to(dtype).unsqueeze(0))


def encoder_named(name: str, *, max_rate: float = 0.5, gain: float = 1.0) -> Encoder:
    """Return the encoder called `name` (direct, poisson, latency) with its setting bound.

    Raises UserError for unknown names and for settings outside their range.
    """
    if not 0.0 < max_rate <= 1.0:
        raise UserError(f"max_rate is {max_rate}, a probability of a spike per step: give a number in (0, 1]")
    if not 0.0 < gain < float("inf"):
        raise UserError(f"the gain of direct current is {gain}: give a positive number")
    choices: dict[str, Encoder] = {
        DIRECT: partial(direct, gain=gain),
        POISSON: partial(poisson, max_rate=max_rate),
        LATENCY: latency,
    }
    if name not in choices:
        raise UserError(f"unknown encoder '{name}'; choose one of {', '.join(choices)}")
    return choices[name]


def intensities(inputs: torch.Tensor) -> torch.Tensor:
    """Static inputs as float32 intensities in 0…1: uint8 is divided by 255, floats stay as they are."""
    return inputs.float() / 255.0 if inputs.dtype == torch.uint8 else inputs.float()
