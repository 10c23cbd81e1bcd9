"""All that training carries from one epoch to the next, as flat tensors: what makes a run resumable.

Rules keep their state in nested named tuples; it is restored into a freshly built one of the same shape,
so nothing but tensors and numbers is ever read from a file.
"""

from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor

from neurofdfa.distributed.group import ProcessGroup
from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer

Tensors = dict[str, Tensor]


def pack(learner: Trainer | BPTT, generators: dict[str, torch.Generator]) -> Tensors:
    """Weights, optimizer states, the rule's state, rate averages and random generators."""
    packed: Tensors = {f"weights.{name}": value for name, value in learner.network.state_dict().items()}
    packed |= _pack_optimizer("optimizer", learner.optimizer)
    for name, generator in (generators | {"learner": learner.generator}).items():
        packed[f"generator.{name}"] = generator.get_state()
    if isinstance(learner, Trainer):
        packed |= _flatten("rule", learner.rule_state) | _flatten("rates", learner.rates)
        if learner.feedback_optimizer is not None:
            packed |= _pack_optimizer("feedback_optimizer", learner.feedback_optimizer)
    return packed


def unpack(packed: Tensors, learner: Trainer | BPTT, generators: dict[str, torch.Generator]) -> None:
    """Put a packed state into a freshly built learner; raises `UserError` when it does not fit."""
    try:
        learner.network.load_state_dict(
            {name: packed[f"weights.{name}"] for name in learner.network.state_dict()}
        )
        _unpack_optimizer("optimizer", learner.optimizer, packed)
        if isinstance(learner, Trainer):
            learner.rule_state = _restore("rule", learner.rule_state, packed)
            learner.rates = _restore("rates", learner.rates, packed)
            if learner.feedback_optimizer is not None:
                _unpack_optimizer("feedback_optimizer", learner.feedback_optimizer, packed)
        for name, generator in (generators | {"learner": learner.generator}).items():
            generator.set_state(packed[f"generator.{name}"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the saved training state does not fit this config ({error}): start afresh"
        ) from error


def agree(learner: Trainer | BPTT, generators: dict[str, torch.Generator], team: ProcessGroup) -> None:
    """Let every process of a team, none of which has begun a sequence, go on from rank 0's state."""
    if team.size > 1:
        unpack(_told(pack(learner, generators), team), learner, generators)


def agree_on_weights(network: Network, team: ProcessGroup) -> None:
    """Let every process of a team have rank 0's weights."""
    if team.size > 1:
        network.load_state_dict(_told(network.state_dict(), team))


def _told(tensors: Tensors, team: ProcessGroup) -> Tensors:
    return load(team.tell(save({name: tensor.contiguous() for name, tensor in tensors.items()})))


def _flatten(prefix: str, tree: Any) -> Tensors:
    if isinstance(tree, Tensor):
        return {prefix: tree}
    if isinstance(tree, (bool, int, float)):
        return {prefix: torch.tensor(float(tree), dtype=torch.float64)}
    if isinstance(tree, tuple):
        items = cast(tuple[Any, ...], tree)
        flat: Tensors = {}
        for index, item in enumerate(items):
            flat |= _flatten(f"{prefix}.{index}", item)
        return flat
    return {}


def _restore(prefix: str, template: Any, packed: Tensors) -> Any:
    """The template with its tensors overwritten in place (optimizers hold them) and its numbers replaced."""
    if isinstance(template, Tensor):
        return template.copy_(packed[prefix])
    if isinstance(template, (bool, int, float)):
        return type(template)(packed[prefix].item())
    if isinstance(template, tuple):
        items = cast(tuple[Any, ...], template)
        restored = [_restore(f"{prefix}.{index}", item, packed) for index, item in enumerate(items)]
        make: Any = getattr(items, "_make", None)
        return make(restored) if make is not None else tuple(restored)
    return template


def _pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> Tensors:
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": value
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=torch.float64)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def _unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, packed: Tensors) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in packed.items():
        if key.startswith(f"{prefix}."):
            index, name = key.removeprefix(f"{prefix}.").split(".", 1)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
