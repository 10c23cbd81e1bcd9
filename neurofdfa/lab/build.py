"""From a config to the objects that train: data set, network, trainer, learning-rate schedule."""

import math
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.optim.lr_scheduler import LambdaLR

from neurofdfa.data.dataset import Dataset
from neurofdfa.data.density import thinned
from neurofdfa.data.load import load
from neurofdfa.data.order import shuffled
from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.errors import UserError
from neurofdfa.lab.config import DataConfig, NetworkConfig, RuleConfig, RunConfig, TrainingConfig
from neurofdfa.lab.kept_data import read_kept
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import Loss, loss_named
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.nn.surrogate import surrogate
from neurofdfa.rules import rule_named
from neurofdfa.rules.base import Rule
from neurofdfa.train.device import Device
from neurofdfa.train.learning import optimizer_like
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}
_RATE_SAMPLES = 128


class Given(NamedTuple):
    """What the user hands over in place of what the config describes; None leaves it to the config.

    optimizer: of the given network's parameters.
    """

    network: Network | None = None
    data: Dataset | None = None
    rule: Rule[Any] | None = None
    loss: Loss | None = None
    optimizer: torch.optim.Optimizer | None = None


NOTHING = Given()


def build_data(config: DataConfig, seed: int, folder: Path | None = None) -> Dataset:
    """Load the data set; generated tasks are drawn from `seed`. folder: of the run, which may keep them."""
    if config.own is not None:
        return read_kept(config, folder)
    taken = {"name", "data_root", "steps", "seed", "encoder", "max_rate", "gain", "download"} & set(
        config.options
    )
    if taken:
        raise UserError(
            f"data.options has '{min(taken)}', which is a setting of its own or a command's option"
        )
    data = load(
        config.name,
        data_root=config.root,
        steps=config.steps,
        seed=seed,
        encoder=config.encoder,
        max_rate=config.max_rate,
        gain=config.gain,
        **config.options,
    )
    if config.order == "shuffled":
        data = shuffled(data)
    return data if config.density == 1 else thinned(data, config.density)


def build_network(
    config: NetworkConfig, n_in: int, n_out: int, seed: int, shape: tuple[int, ...] = ()
) -> Network:
    """A network with weights drawn from `seed`. shape: of the input, where the config does not say it."""
    if config.own is not None:
        raise UserError(
            f"this run's network is the user's own ({config.own}): hand it over in Python, "
            "neurofdfa.load(folder, network=…)"
        )
    neuron = LIF(
        tau_mem=config.tau_mem,
        tau_syn=config.tau_syn,
        dt=config.dt,
        v_threshold=config.v_threshold,
        reset=config.reset,
        reset_gradient=config.reset_gradient,
        decay_bits=config.decay_bits,
        surrogate=surrogate(config.surrogate, config.surrogate_width, config.surrogate_height),
        adaptation=config.adaptation,
        tau_adapt=config.tau_adapt,
    )
    return feed_forward(
        n_in,
        config.below_the_readout,
        n_out,
        shape=shape if config.shape is None and config.readout != "written" else config.shape or (),
        neuron=neuron,
        readout=config.readout,
        tau_out=config.tau_out,
        bias=config.bias,
        recurrent=config.recurrent,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        weight_bits=config.weight_bits,
        tau_mem_spread=config.tau_mem_spread,
        tau_syn_spread=config.tau_syn_spread,
        learn_tau=config.learn_tau,
        generator=torch.Generator().manual_seed(seed),
    )


def build_loss(config: TrainingConfig, answer_from: int = 0) -> Loss:
    """The loss by name; of every step from the data set's `answer_from` on, where it is of every step."""
    if config.loss == "own":
        raise UserError(
            "this run's loss is the user's own: hand it over in Python, neurofdfa.load(folder, loss=…)"
        )
    loss = loss_named(config.loss, config.loss_when, **config.loss_options)
    if answer_from and loss.when == "every-step":
        return loss_named(config.loss, answer_from, **config.loss_options)
    return loss


def build_rule(config: RuleConfig) -> Rule[Any]:
    """The rule by name, with its settings."""
    if config.own:
        raise UserError(
            f"this run's rule '{config.name}' is the user's own: hand it over in Python, "
            "neurofdfa.load(folder, rule=…)"
        )
    return rule_named(config.name, **config.options)


def build_trainer(
    config: RunConfig,
    network: Network,
    answer_from: int = 0,
    group: ProcessGroup = SINGLE,
    given: Given = NOTHING,
) -> Trainer:
    """The trainer of the config's rule; its randomness comes from the config's seed.

    answer_from: the data set's first step with a target. given: what the user handed over; for another
    network than the given one the optimizer is one like the given.
    """
    training = config.training
    if given.optimizer is None:
        optimizer = build_optimizer(training, network)
    elif network is given.network:
        optimizer = given.optimizer
    else:
        optimizer = optimizer_like(given.optimizer, network.parameters())
    return Trainer(
        network,
        build_rule(config.rule) if given.rule is None else given.rule,
        optimizer,
        loss=build_loss(training, answer_from) if given.loss is None else given.loss,
        engine=training.engine,
        update_every=training.update_every,
        rate_regulariser=RateRegulariser(training.rate_target, training.rate_strength, training.rate_memory),
        device=Device(**config.device.model_dump()),
        generator=torch.Generator().manual_seed(config.seed + 1),
        group=group,
        threads=training.threads,
        batch_first=False,
    )


def build_optimizer(training: TrainingConfig, network: Network) -> torch.optim.Optimizer:
    """Of the network's parameters; recurrent synapses may have a learning rate of their own."""
    if training.optimizer == "own":
        raise UserError(
            "this run's optimizer is the user's own, which a folder cannot describe: hand it over in Python, "
            "run.fit(epochs, optimizer=…)"
        )
    recurrent = (layer.recurrent for layer in network.hidden if layer.recurrent is not None)
    slow = {id(synapse.weight) for synapse in recurrent} if training.recurrent_lr != 1.0 else set[int]()
    given = list(network.parameters())
    groups: list[dict[str, Any]] = [{"params": [p for p in given if id(p) not in slow]}]
    if slow:
        own = [p for p in given if id(p) in slow]
        groups.append({"params": own, "lr": training.lr * training.recurrent_lr})
    settings: dict[str, Any] = {
        name: tuple(cast(list[Any], v)) if isinstance(v, list) else v
        for name, v in training.optimizer_options.items()
    }
    try:
        return OPTIMIZERS[training.optimizer](
            groups, lr=training.lr, weight_decay=training.weight_decay, **settings
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"training.optimizer_options: {error}") from error


def build_schedule(
    trainer: Trainer, training: TrainingConfig, updates: int, first: int = 0, factor: float = 1.0
) -> LambdaLR:
    """The config's learning rates times a factor, to be stepped after every batch; `first`: batches that are
    done already.
    """
    return LambdaLR(
        trainer.optimizer, lambda update: factor * learning_rate(training, first + update, updates)
    )


def settle_rates(network: Network, data: Dataset, rate: float) -> None:
    """Rescale the initial weights on the first training samples until a share `rate` fires."""
    x, _, _ = data.train.first(_RATE_SAMPLES)
    scale_to_rate(network, x, rate)


def learning_rate(config: TrainingConfig, update: int, updates: int) -> float:
    """Factor on the learning rate of batch `update` of `updates`: linear warm-up, then cosine to zero."""
    if config.schedule == "constant":
        return 1.0
    if update < config.warmup:
        return (update + 1) / config.warmup
    progress = (update - config.warmup) / max(1, updates - config.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
