"""The control without timing: every sample keeps its steps and loses their order."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from neurofdfa.data.augment import ShuffleSteps, chain
from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.recordings import Recordings, Sample
from neurofdfa.errors import UserError

_SEED = 1_414_213


def shuffled(data: Dataset) -> Dataset:
    """A data set in which the time steps of every sample stand in a random order, the sample's own.

    What a network can still use is how often a channel spikes and which channels spike in the same step.
    Samples to learn from have another order at every sight, so that no order can be learnt by heart; those
    to evaluate have one for good. Raises `UserError` for targets that change over time.
    """
    if data.task == "regression":
        raise UserError(f"{data.name} has a target at every step: shuffled steps would not fit them")
    change = ShuffleSteps()
    if data.encode is not None:
        return replace(data, encode=partial(_encode, data.encode))

    def fixed(split: Split) -> Split:
        if isinstance(split.inputs, Recordings):
            return replace(split, inputs=split.inputs.changed(_shuffle))
        generator = torch.Generator().manual_seed(_SEED)
        rows = [change(row, generator) for row in split.inputs]
        return replace(split, inputs=torch.stack([row for row in rows if isinstance(row, torch.Tensor)]))

    return replace(
        data,
        augment=chain([*([] if data.augment is None else [data.augment]), change]),
        validation=fixed(data.validation),
        sealed_test=data.sealed_test.changed(fixed),
    )


def _shuffle(sample: Sample, number: int) -> Sample:
    return ShuffleSteps()(sample, torch.Generator().manual_seed(_SEED + number))


def _encode(
    encode: Encoder, intensities: torch.Tensor, steps: int, generator: torch.Generator
) -> torch.Tensor:
    """Sample after sample, so that what one draws does not depend on the others in its batch."""
    samples: list[torch.Tensor] = []
    for index in range(len(intensities)):
        spikes = encode(intensities[index : index + 1], steps, generator)
        order = torch.randperm(len(spikes), generator=generator, device=generator.device)
        samples.append(spikes[order.to(spikes.device)])
    return torch.cat(samples, 1)
