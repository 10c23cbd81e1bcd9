"""Fewer input spikes: each one is kept with a probability, independently of all others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from neurofdfa.data.augment import DropEvents
from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.data.encode import Encoder, direct
from neurofdfa.data.recordings import Recordings, Sample
from neurofdfa.errors import UserError

_SEED = 2_718_281


def thinned(data: Dataset, density: float) -> Dataset:
    """A data set whose input spikes are kept with probability `density`.

    Encoded images lose other spikes in every batch; recordings lose the same ones for good. On the CPU a
    sample's evaluation input does not depend on the batch size. Raises UserError for inputs without spikes.
    """
    if not 0.0 < density <= 1.0:
        raise UserError(f"the input density is {density}, a share of the spikes: give a number in (0, 1]")
    currents = data.kind == "sequence" or getattr(data.encode, "func", None) is direct
    if currents:
        raise UserError(f"{data.name} comes as currents, which have no density: encode it as spikes")
    if data.encode is not None:
        return replace(data, encode=partial(_encode, data.encode, density))
    generator = torch.Generator().manual_seed(_SEED)

    def thin(split: Split) -> Split:
        if isinstance(split.inputs, Recordings):
            return Split(split.inputs.changed(partial(_thin, density)), split.targets)
        shape, device = split.inputs.shape, split.inputs.device
        return Split(split.inputs * _kept(shape, density, generator).to(device), split.targets)

    return replace(
        data,
        train=thin(data.train),
        validation=thin(data.validation),
        sealed_test=data.sealed_test.changed(thin),
    )


def _thin(density: float, sample: Sample, number: int) -> Sample:
    return DropEvents(1.0 - density)(sample, torch.Generator().manual_seed(_SEED + number))


def _encode(
    encode: Encoder, density: float, intensities: torch.Tensor, steps: int, generator: torch.Generator
) -> torch.Tensor:
    """Sample after sample, so that what one draws does not depend on the others in its batch."""
    samples: list[torch.Tensor] = []
    for index in range(len(intensities)):
        spikes = encode(intensities[index : index + 1], steps, generator)
        samples.append(spikes * _kept(spikes.shape, density, generator).to(spikes.device))
    return torch.cat(samples, 1)


def _kept(shape: torch.Size, density: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) < density
