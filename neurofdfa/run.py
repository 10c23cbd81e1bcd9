"""A network, a rule and samples of the user's own become a run folder, on which every command works.

run = nf.fit(net, data, nf.FDFA(), epochs=10, out="runs/mine")
run.report()
run = nf.load("runs/mine").fit(epochs=10)
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.errors import Diverged, UserError
from neurofdfa.io import load_weights, read_tensors
from neurofdfa.lab.build import Given, build_data, build_rule
from neurofdfa.lab.config import DeviceConfig, RunConfig, TrainingConfig, load_config
from neurofdfa.lab.describe import describe_loss, describe_network, describe_optimizer, describe_rule
from neurofdfa.lab.evaluation import EVALUATION_BATCH, Evaluation, evaluate
from neurofdfa.lab.kept_data import check_same, describe_data, pristine
from neurofdfa.lab.load_run import load_run
from neurofdfa.lab.record import CONFIG, SUMMARY, Epoch, Summary, is_run, read_epochs, read_summary
from neurofdfa.lab.run import train
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network
from neurofdfa.notebook import card
from neurofdfa.rules import as_rule
from neurofdfa.rules.base import Rule
from neurofdfa.train.device import Device
from neurofdfa.train.fit import Callback
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Engine, Trainer

_USUAL = TrainingConfig()


class Prediction(NamedTuple):
    """target: as the split has it, class numbers `[N]` or values; scores: of the network, `[N, k]`, whose
    highest is the predicted class.
    """

    target: Tensor
    scores: Tensor


class Run:
    """A trained network with all that belongs to it; `fit` and `load` make one.

    folder: where it is kept. config: what decided it. network: with the weights of the epoch that validation
    chose. data: what it learnt from. epochs: measures of every epoch, `history` by another name; summary: the
    outcome, None while the run is not finished.
    """

    def __init__(
        self, folder: Path, config: RunConfig, network: Network, given: Given, data: Dataset
    ) -> None:
        self.folder = folder
        self.config = config
        self.network = network
        self.data = data
        self._given = given

    @property
    def epochs(self) -> list[Epoch]:
        """Measures of every epoch, from the folder."""
        return read_epochs(self.folder)

    @property
    def history(self) -> list[Epoch]:
        """The same as `epochs`."""
        return self.epochs

    @property
    def summary(self) -> Summary | None:
        """The outcome, None while the run is not finished."""
        return read_summary(self.folder) if (self.folder / SUMMARY).is_file() else None

    @property
    def rule(self) -> Rule[Any]:
        """What it learns by."""
        return build_rule(self.config.rule) if self._given.rule is None else self._given.rule

    def evaluate(self, split: Split | None = None) -> Evaluation:
        """Loss, accuracy, firing rates and silent neurons on the validation split, or another one."""
        chosen = self.data.validation if split is None else split
        return evaluate(self.network, self.config, self.data, chosen, given=self._given)

    def predict(self, split: Split | None = None) -> Prediction:
        """Scores of every sample of the validation split, or another one, beside what was wanted."""
        chosen = self.data.validation if split is None else split
        drawn = torch.Generator().manual_seed(0)
        trainer = Trainer(self.network, self.rule, engine=self.config.training.engine, generator=drawn)
        targets: list[Tensor] = []
        scores: list[Tensor] = []
        for x, target, *lengths in chosen.batches(EVALUATION_BATCH):
            targets.append(target)
            scores.append(trainer.predict(x, *lengths))
        wanted = torch.cat(targets, 1 if targets[0].dim() == 3 else 0)
        return Prediction(wanted, torch.cat(scores))

    def report(self) -> Path:
        """Write the run's results as one self-contained HTML file and return its path."""
        from neurofdfa.report import write

        return write(self.folder)

    def fit(
        self,
        epochs: int = 10,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> "Run":
        """Go on: a finished run for so many more epochs, from its last one; an unfinished one to its end.

        The learning rate goes on as in a run of all epochs together, see `TrainingConfig`; the test split is
        opened once more at the end, which the summary counts. optimizer: needed where the folder cannot
        describe it. The run itself is changed and returned. Raises `UserError` for less than 1 epoch.
        """
        if epochs < 1:
            raise UserError(f"fit for at least 1 epoch, got {epochs}")
        config = load_config(self.folder / CONFIG)
        if (self.folder / SUMMARY).is_file():
            training = config.training.model_copy(update={"epochs": len(self.epochs) + epochs})
            config = config.model_copy(update={"training": training})
        given = self._given._replace(network=self.network, data=pristine(self.data))
        if optimizer is not None:
            given = given._replace(optimizer=optimizer)
        self._given = given
        _train(config, self.folder, given, callbacks, progress, resume=True)
        self.config = load_config(self.folder / CONFIG)
        return self

    def __repr__(self) -> str:
        sizes = [self.network.n_in, *(layer.n for layer in self.network.hidden), self.network.n_out]
        summary, done = self.summary, self.epochs
        samples = f"{len(self.data.train)}/{len(self.data.validation)}/{self.data.test_size} samples"
        outcome = (
            "not finished"
            if summary is None
            else f"test {summary.test_accuracy:.4g}, validation {summary.validation_accuracy:.4g} at epoch "
            f"{summary.best_epoch}"
        )
        return (
            f"Run('{self.folder}': {'-'.join(map(str, sizes))} with {self.config.rule.name} on "
            f"{self.data.name}, {samples}, {len(done)} epochs, {outcome})"
        )

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        summary, done = self.summary, self.epochs
        rows: list[tuple[str, object]] = [
            ("folder", self.folder),
            ("rule", self.config.rule.name),
            ("data", self.data.name),
            ("epochs", len(done)),
        ]
        if summary is not None:
            rows += [
                ("validation accuracy", f"{summary.validation_accuracy:.4g} at epoch {summary.best_epoch}"),
                ("test accuracy", f"{summary.test_accuracy:.4g}"),
                ("seconds of training", f"{summary.seconds:.1f}"),
            ]
        return card("run" if summary is not None else "run, not finished", rows)


def fit(
    network: Network,
    data: Dataset,
    rule: Rule[Any] | str,
    *,
    epochs: int = _USUAL.epochs,
    out: str | Path | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Loss | None = None,
    batch: int = _USUAL.batch,
    seed: int = 0,
    engine: Engine = "auto",
    schedule: Literal["cosine", "constant"] = "cosine",
    rate: float = 0.0,
    update_every: int | None = None,
    rate_regulariser: RateRegulariser | None = None,
    device: Device | None = None,
    alignment_samples: int = 0,
    diverged: Literal["stop", "skip", "halve"] = "stop",
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Run:
    """Train a network of your own as `neurofdfa train` does, into a run folder.

    Validation data choose the epoch, the test split is opened once, at the end, and the folder is written
    whole: report, evaluate, parity, energy, audit, map and export work on it. The network ends with the
    weights of the chosen epoch.

    rule: one of `neurofdfa.rules`, or the name of one. out: the folder, new or empty;
    runs/<data>-<rule>-<time> unless given. optimizer: of the network's parameters, Adam with a learning rate
    of 3e-3 unless given. schedule: a warm-up over 50 batches and a cosine to zero, or the optimizer's
    learning rate all along. rate: scale the initial weights first until this share of neurons fires per step
    (`neurofdfa train` does so, with 0.06); 0 leaves them. seed: of the order of samples, their noise,
    feedback and dropout; the weights are the network's. callbacks: called with the trainer and every epoch's
    measures, as by `Trainer.fit`; one that returns True ends the training. diverged: what follows on numbers
    that are not finite: "stop" fails with the reason, "skip" leaves the batch out, "halve" learns the epoch
    again with half the learning rate; the epochs say how often. progress: a bar on a terminal or in a
    notebook. The other arguments are those of `Trainer`, with the defaults of `neurofdfa train`.

    What a file cannot describe (a class of your own, samples of more than 256 MiB) is handed over again to
    `load`. Raises `UserError` for what does not fit, and `Diverged` where loss or weights stop being finite
    and `diverged` does not help:
    the folder and the network then hold the last good epoch.
    """
    rule = as_rule(rule)
    regulariser = RateRegulariser() if rate_regulariser is None else rate_regulariser
    config = RunConfig(
        seed=seed,
        data=describe_data(data),
        network=describe_network(network, rate),
        rule=describe_rule(rule),
        training=TrainingConfig.model_validate(
            {
                "epochs": epochs,
                "batch": batch,
                "schedule": schedule,
                "update_every": update_every,
                "rate_target": regulariser.rate,
                "rate_strength": regulariser.strength,
                "rate_memory": regulariser.memory,
                "alignment_samples": alignment_samples,
                "engine": engine,
                "diverged": diverged,
            }
            | describe_loss(loss)
            | describe_optimizer(optimizer, network)
        ),
        device=DeviceConfig(**({} if device is None else asdict(device))),
    )
    folder = (
        Path("runs") / f"{data.name}-{rule.name}-{datetime.now():%Y%m%d-%H%M%S}" if out is None else Path(out)
    )
    given = Given(network, data, rule, loss, optimizer)
    _train(config, folder, given, callbacks, progress, resume=False)
    return Run(folder, load_config(folder / CONFIG), network, given, data)


def load(
    folder: str | Path,
    *,
    network: Network | None = None,
    data: Dataset | None = None,
    rule: Rule[Any] | None = None,
    loss: Loss | None = None,
) -> Run:
    """Read a run folder back, of `fit` or of `neurofdfa train`, with the weights of its chosen epoch.

    network, data, rule, loss: in place of what the folder describes, where it cannot; the network gets the
    folder's weights. Raises `UserError` where something is missing, damaged or does not fit.
    """
    path = Path(folder)
    if not is_run(path):
        raise UserError(f"{path} is not a run folder (no {CONFIG})")
    config, found = load_run(path, network)
    samples = build_data(config.data, config.seed, path) if data is None else data
    if data is not None:
        check_same(config.data, data, "data")
    return Run(path, config, found, Given(found, samples, rule, loss), samples)


def _train(
    config: RunConfig,
    folder: Path,
    given: Given,
    callbacks: Sequence[Callback],
    progress: bool,
    *,
    resume: bool,
) -> None:
    done = len(read_epochs(folder)) if resume else 0
    total = config.training.epochs
    bar: Any = tqdm(total=total, initial=done, unit="epoch", disable=None if progress else True)
    try:
        with bar:
            train(
                config,
                folder,
                command=f"neurofdfa.fit(…, out='{folder}')",
                resume=resume,
                given=given,
                progress=_shown(bar),
                callbacks=callbacks,
            )
    except Diverged:
        if given.network is not None and (folder / "state.safetensors").exists():
            packed, _ = read_tensors(folder / "state.safetensors")
            weights = {n.removeprefix("weights."): t for n, t in packed.items() if n.startswith("weights.")}
            load_weights(given.network, weights, folder / "state.safetensors")
        raise


def _shown(bar: Any) -> Callable[[Epoch, int], None]:
    def show(epoch: Epoch, total: int) -> None:
        bar.set_postfix_str(f"loss {epoch.train_loss:.4g}, validation {epoch.validation_accuracy:.4g}")
        bar.update()

    return show
