"""What a data set is: two splits to work with, and a test split that can be looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from neurofdfa.data.collate import Batch, collate, stacked
from neurofdfa.data.encode import Encoder, intensities
from neurofdfa.data.event_lists import Events
from neurofdfa.data.recordings import Recordings, Sample
from neurofdfa.errors import UserError
from neurofdfa.notebook import card

Kind = Literal["static", "spikes", "sequence"]
Task = Literal["classification", "regression"]
EVALUATION_SEED = 1_618_033
"""Noise of evaluation inputs: always the same, so that two networks, or two backends, see equal spikes."""
Augmentation = Callable[[Any, torch.Generator], Any]
"""(intensities [B, n], or one `EventList`, or one sample's values [T, n]; generator) → another of the same
kind, as different as the task allows."""


@dataclass(frozen=True)
class Presentation:
    """How samples become input: `steps` time steps, `encode` for static ones, `augment` for learning."""

    steps: int
    encode: Encoder | None = None
    augment: Augmentation | None = None

    def sample(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return a recording as it is shown, changed by `augment`."""
        return sample if self.augment is None else self.augment(sample, generator)


@dataclass(frozen=True, repr=False, eq=False)
class Split(TorchDataset[tuple[Sample, Tensor]]):
    """Samples and what they should become: a map-style data set of torch, and batches of it.

    inputs: static [N, n], float32 in 0…1 or uint8 in 0…255; spikes [N, T, n] uint8; sequence [N, T, n]
    float32;
        or `Recordings`, which are read one by one.
    targets: class numbers [N] int64, or for regression the wanted output [N, T, n_out] float32.
    shown: how samples become input; a `Dataset` says it for its splits.
    """

    inputs: Any
    targets: torch.Tensor
    shown: Presentation | None = None

    def __post_init__(self) -> None:
        """Refuse splits whose two halves do not belong together."""
        if len(self.inputs) != self.targets.shape[0]:
            raise UserError(
                f"a split has {len(self.inputs)} inputs and {self.targets.shape[0]} targets; "
                "give one target per input"
            )

    def __len__(self) -> int:
        """Count the samples."""
        return int(self.targets.shape[0])

    def __getitem__(self, number: int) -> tuple[Sample, Tensor]:
        """Return one sample, an `EventList` or float32 [T, n], and its target, a class or [T, n_out].

        What is random about it (an encoder's noise, augmentation) is drawn from torch's default generator,
        which a `DataLoader` seeds in every worker. Put samples together with `collate`.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        shown, target, generator = self._shown(), self.targets[number], torch.default_generator
        if isinstance(self.inputs, Recordings):
            return shown.sample(self.inputs[number], generator), target
        values = self.inputs[number]
        if shown.encode is None:
            return shown.sample(values.float(), generator), target
        values = shown.sample(intensities(values).unsqueeze(0), generator)
        assert isinstance(values, Tensor)
        return shown.encode(values, shown.steps, generator)[:, 0], target

    def __repr__(self) -> str:
        """Show shapes, not the contents."""
        shape = tuple(self.inputs.shape) if isinstance(self.inputs, Tensor) else self.inputs
        return f"Split(inputs {shape}, targets {tuple(self.targets.shape)})"

    @property
    def lengths(self) -> Tensor | None:
        """Time steps of each sample, [N] int64; None where all have the same number."""
        return self.inputs.lengths if isinstance(self.inputs, Recordings) else None

    def batches(
        self, batch_size: int, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield (x, target) over the whole split, time-major; the last batch may be smaller.

        x: float32 [T, B, n], or `Events` where the samples are lists of events. target: [B] int64, or
        [T, B, n_out] float32 for regression. Where samples have lengths of their own, x is filled up with
        silence to the longest of the batch, and each sample's own number of steps comes third: (x, target,
        lengths [B]).
        seed, or a generator, on whose device batches come: for learning. The samples come in random order,
        with noise and augmentation of their own; equal seeds give equal batches.
        Neither: for evaluating. The samples come in order, without augmentation, the encoder's noise always
        the same; on the CPU it does not depend on the batch size either.
        Raises UserError for a batch size below 1.
        """
        shown = self._shown()
        if generator is None and seed is None:
            fixed = torch.Generator().manual_seed(EVALUATION_SEED)
            return self.shown_as(replace(shown, augment=None)).iterate(batch_size, fixed, shuffle=False)
        if generator is None:
            generator = torch.Generator().manual_seed(0 if seed is None else seed)
        return self.iterate(batch_size, generator, shuffle=True)

    def iterate(self, batch_size: int, generator: torch.Generator, shuffle: bool) -> Iterator[Batch]:
        """Yield batches as `batches` does; all randomness is drawn from `generator`."""
        if batch_size < 1:
            raise UserError(f"the batch size is {batch_size}; give a positive number")
        device = generator.device
        order = torch.randperm(len(self), generator=generator, device=device) if shuffle else None
        for start in range(0, len(self), batch_size):
            stop = min(start + batch_size, len(self))
            index = slice(start, stop) if order is None else order[start:stop].to(self.targets.device)
            yield self.select(index).to(device)._batch(generator)

    def first(self, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first samples as one batch for looking at: (x, target, lengths), see `batches`.

        x is a float32 tensor `[T, B, n]` whatever the samples are kept as; lengths `[B]` are always there.
        """
        x, target, *own = next(self.select(slice(0, samples)).batches(samples))
        dense = x.dense(torch.float32) if isinstance(x, Events) else x
        steps, batch = dense.shape[:2]
        return dense, target, own[0] if own else torch.full((batch,), steps)

    def shown_as(self, shown: Presentation) -> Split:
        """Return the same samples, to be shown in another way."""
        return Split(self.inputs, self.targets, shown)

    def select(self, index: torch.Tensor | slice) -> Split:
        """Return the samples at `index` (int64 or bool tensor, or a slice), in that order."""
        inputs = self.inputs.select(index) if isinstance(self.inputs, Recordings) else self.inputs[index]
        return Split(inputs, self.targets[index], self.shown)

    def to(self, device: torch.device | str) -> Split:
        """Return the same samples on `device`; recordings stay where they are until they are batches."""
        inputs = self.inputs if isinstance(self.inputs, Recordings) else self.inputs.to(device)
        return Split(inputs, self.targets.to(device), self.shown)

    def _batch(self, generator: torch.Generator) -> Batch:
        shown, inputs = self._shown(), self.inputs
        if isinstance(inputs, Recordings):
            samples = [shown.sample(inputs[row], generator) for row in range(len(self))]
            if self.targets.dim() == 1:  # class numbers are together already
                x, own = stacked(samples)
                x = x if isinstance(x, Events) else x.to(generator.device)
                unequal = inputs.lengths is not None if inputs.measured else len(set(own)) > 1
                lengths = torch.tensor(own, device=generator.device)
                return (x, self.targets, lengths) if unequal else (x, self.targets)
            labelled = list(zip(samples, self.targets, strict=True))
            wanted = (inputs.lengths is not None) if inputs.measured else None
            return collate(labelled, lengths=wanted, device=generator.device)
        target = self.targets.transpose(0, 1).contiguous() if self.targets.dim() == 3 else self.targets
        if shown.encode is not None:
            values = intensities(inputs)
            if shown.augment is not None:
                values = shown.augment(values, generator)
            return shown.encode(values, shown.steps, generator), target
        if inputs.dim() != 3 or inputs.shape[1] != shown.steps:
            raise UserError(
                f"inputs of shape {tuple(inputs.shape)} do not have {shown.steps} time steps; "
                "pass an encoder for static inputs, or the data's own number of steps"
            )
        if shown.augment is None:
            return inputs.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format), target
        return torch.stack([shown.augment(row.float(), generator) for row in inputs], 1), target

    def _shown(self) -> Presentation:
        if self.shown is not None:
            return self.shown
        if isinstance(self.inputs, Tensor) and self.inputs.dim() == 3:
            return Presentation(int(self.inputs.shape[1]))
        if isinstance(self.inputs, Recordings):
            return Presentation(0)
        raise UserError("static samples need an encoder to become input: make a Dataset of the splits")


class SealedSplit:
    """A split that opens once, so that nothing can be chosen by looking at it again and again."""

    def __init__(self, split: Split) -> None:
        """Seal `split`."""
        self.__split = split
        self.__opened = False

    def __len__(self) -> int:
        """Count the samples; that much may be known without opening."""
        return len(self.__split)

    def __repr__(self) -> str:
        """Show the size and the seal, never the contents."""
        return f"SealedSplit({len(self)} samples, {'opened' if self.__opened else 'sealed'})"

    @property
    def opened(self) -> bool:
        """Whether somebody has looked."""
        return self.__opened

    def changed(self, change: Callable[[Split], Split]) -> SealedSplit:
        """Return a sealed split of what `change` makes of the samples, which stay unseen."""
        sealed = SealedSplit(change(self.__split))
        sealed.__opened = self.__opened
        return sealed

    def open(self) -> Split:
        """Break the seal. Raises UserError the second time."""
        if self.__opened:
            raise UserError(
                "the test split has been opened already; choose settings on the validation split, "
                "and load the data set again for another final evaluation"
            )
        self.__opened = True
        return self.__split


@dataclass(frozen=True)
class Dataset:
    """A named task: training and validation data in the open, test data under seal.

    kind: "static" inputs get time through `encode`, afresh in every batch; "spikes" and "sequence" have it.
    n_in, n_out: channels in, classes (or regression outputs) out.
    steps: T of every sequence, or the number of steps that static inputs are shown.
    encode: from intensities to [T, B, n]; None when the inputs have time already.
    augment: changes static inputs before they are encoded, or recordings, for training and for training
    alone.
    shape: a static input's own shape (channels, height, width) or (n,), for convolutional layers.
    answer_from: first step at which the target is defined; a loss should ignore the steps before it.
    classes: what the class numbers stand for, in words, where the data say it.
    """

    name: str
    kind: Kind
    n_in: int
    n_out: int
    steps: int
    train: Split
    validation: Split
    sealed_test: SealedSplit = field(repr=False)
    encode: Encoder | None = None
    task: Task = "classification"
    shape: tuple[int, ...] = ()
    answer_from: int = 0
    augment: Augmentation | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Tell the splits how they are shown."""
        plain = Presentation(self.steps, self.encode)

        def shown(split: Split) -> Split:
            return replace(split, shown=plain)

        object.__setattr__(self, "train", replace(self.train, shown=replace(plain, augment=self.augment)))
        object.__setattr__(self, "validation", shown(self.validation))
        object.__setattr__(self, "sealed_test", self.sealed_test.changed(shown))

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None,
        kind: Literal["images", "spikes", "sequences"] | None = None,
        name: str = "arrays",
        steps: int | None = None,
        encoder: str = "poisson",
        max_rate: float = 0.5,
        gain: float = 1.0,
        delta: float = 0.25,
        stretch: bool = True,
    ) -> Dataset:
        """Make a data set of arrays, tensors or lists in memory.

        x: images [N, n], [N, height, width] or [N, c, h, w], uint8 or floats in 0…1; spikes [N, T, n] of 0
            and 1; or sequences of values [N, T, c]; y: classes [N], whole numbers from 0 or words.
        validation, test: (x, y) of their own; a part that is not given is a fifth of the samples, stratified,
            always the same ones.
        kind: which of the three x is, where shape and values do not tell.
        steps, encoder, max_rate, gain: how images become input, as for `neurofdfa.data.load`; sequences
            become level-crossing spikes of `steps` steps, or with "direct" standardised currents.
        delta, stretch: of sequences, as for `neurofdfa.data.load`; a list may hold spikes or sequences
            [T_i, n] of unequal lengths, which sequences keep with stretch=False.
        Raises UserError for every way in which the arrays can be wrong.
        """
        from neurofdfa.data import arrays  # which makes data sets

        return arrays.arrays_dataset(
            name,
            arrays.array_encoding(
                encoder, steps=steps, max_rate=max_rate, gain=gain, delta=delta, stretch=stretch
            ),
            (x, y),
            validation,
            test,
            kind,
        )

    @classmethod
    def from_samples(
        cls,
        train: Any,
        *,
        validation: Any = None,
        test: Any = None,
        x: str | None = None,
        target: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        name: str = "samples",
    ) -> Dataset:
        """Make a data set of samples that somebody else's data sets read, for `neurofdfa.fit`.

        train, validation, test: data sets of torch, tonic or Hugging Face, with their transforms, or
            iterables; see `neurofdfa.data.Samples`, also for x, target and transform. A part that is not
            given is a fifth of the training samples, stratified, always the same ones.
        What has a length is read sample by sample whenever a batch is made, and once before, for the classes,
        where its data set does not list them; what has none is gone through once and kept in memory.
        Targets are class numbers, or words, which become numbers in their order.
        Raises `UserError` for samples that cannot be learnt from, by their number.
        """
        from neurofdfa.data import samples  # which makes data sets

        return samples.samples_dataset(
            name, (train, validation, test), x=x, target=target, transform=transform
        )

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        samples = (
            f"{len(self.train)} train, {len(self.validation)} validation, {self.test_size} test (sealed)"
        )
        rows: list[tuple[str, object]] = [
            ("samples", samples),
            ("input", f"{self.n_in} channels {self.shape or (self.n_in,)}, {self.kind}"),
            ("time steps", self.steps),
            ("outputs", f"{self.n_out}: {', '.join(self.classes)}" if self.classes else self.n_out),
        ]
        return card(f"data set {self.name}", rows)

    @property
    def test_opened(self) -> bool:
        """Whether the test split has been opened."""
        return self.sealed_test.opened

    @property
    def test_size(self) -> int:
        """How many samples the test split holds."""
        return len(self.sealed_test)

    def open_test(self) -> Split:
        """Open the test split: the lab does, once, at the end of a run. Raises UserError the second time."""
        return self.sealed_test.open()
