"""What the user hands over, as the config of a run says it: rule, loss, optimizer, network."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, cast

import torch

from neurofdfa.errors import UserError
from neurofdfa.lab.build import OPTIMIZERS
from neurofdfa.lab.config import NetworkConfig, RuleConfig
from neurofdfa.nn.layer_spec import describe
from neurofdfa.nn.loss import LOSSES, Loss, loss_named
from neurofdfa.nn.network import Network
from neurofdfa.rules import RULES, TRACES, rule_named
from neurofdfa.rules.base import Rule


def describe_network(network: Network, rate: float) -> NetworkConfig:
    """Every module with its settings; only the reason where there is code of the user's own among them."""
    shape: Any = network.input_shape if len(network.input_shape) == 3 else None
    try:
        return NetworkConfig(layers=describe(list(network.layers)), readout="written", shape=shape, rate=rate)
    except UserError as error:
        return NetworkConfig(own=str(error), shape=shape, rate=rate)


def describe_rule(rule: Rule[Any]) -> RuleConfig:
    """Name and settings that make the very same rule, or that it is the user's own."""
    options: dict[str, Any] = {}
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.init and value != _default(field):
            options[field.name] = _trace(value) if field.name == "trace" else value
    if type(rule) is RULES.get(rule.name) and _plain(options):
        try:
            if rule_named(rule.name, **options) == rule:
                return RuleConfig(name=rule.name, options=options)
        except UserError:
            pass
    return RuleConfig(name=rule.name, own=True)


def describe_loss(loss: Loss | None) -> dict[str, Any]:
    """Settings of `training`, none for the default."""
    if loss is None:
        return {}
    name = next((name for name, kind in LOSSES.items() if kind is type(loss)), None)
    if name is None:
        return {"loss": "own"}
    options = {key: float(value) for key, value in vars(loss).items() if key != "when"}
    return (
        {"loss": name, "loss_when": loss.when, "loss_options": options}
        if loss_named(name, loss.when, **options) == loss
        else {"loss": "own"}
    )


def describe_optimizer(optimizer: torch.optim.Optimizer | None, network: Network) -> dict[str, Any]:
    """Settings of `training`; "own" for a kind, or parameter groups, that they cannot say."""
    if optimizer is None:
        return {}
    name = next((name for name, kind in OPTIMIZERS.items() if kind is type(optimizer)), None)
    found: dict[str, Any] = {"lr": float(optimizer.param_groups[0]["lr"])}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    whole = trained == {id(p) for p in network.parameters()} and len(optimizer.param_groups) == 1
    if name is None or not whole:
        return found | {"optimizer": "own"}
    group = optimizer.param_groups[0]
    usual = OPTIMIZERS[name]([torch.zeros(1)]).param_groups[0]
    skipped = {"params", "lr", "weight_decay", "initial_lr"}
    options: dict[str, Any] = {
        key: list(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value
        for key, value in group.items()
        if key not in skipped and value != usual.get(key)
    }
    if not _plain(options):
        return found | {"optimizer": "own"}
    return found | {"optimizer": name, "weight_decay": group["weight_decay"], "optimizer_options": options}


def _default(field: "Field[Any]") -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _trace(trace: Any) -> Any:
    kind = next((name for name, made in TRACES.items() if made is type(trace)), None)
    if kind is None:
        return trace
    settings = {f.name: getattr(trace, f.name) for f in fields(trace) if f.init}
    usual = {f.name: _default(f) for f in fields(trace) if f.init}
    return {"kind": kind} | {name: value for name, value in settings.items() if value != usual[name]}


def _plain(value: Any) -> bool:
    """Whether TOML can hold it."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _plain(entry) for key, entry in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return all(_plain(entry) for entry in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return isinstance(value, bool | int | float | str)
