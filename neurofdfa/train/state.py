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
from neurofdfa.train.learning import Learning

Tensors = dict[str, Tensor]


def pack(learning: Learning, generators: dict[str, torch.Generator]) -> Tensors:
    """Weights, optimizer states, the rule's state, rate averages and random generators, copied."""
    packed: Tensors = {f"weights.{name}": value for name, value in learning.network.state_dict().items()}
    for name, optimizer in _optimizers(learning).items():
        packed |= _pack_optimizer(name, optimizer)
    for name, generator in (generators | {"learner": learning.generator}).items():
        packed[f"generator.{name}"] = generator.get_state()
    packed |= _flatten("rule", learning.rule_state) | _flatten("rates", learning.rates)
    return {name: x.detach().clone(memory_format=torch.contiguous_format) for name, x in packed.items()}


def unpack(packed: Tensors, learning: Learning, generators: dict[str, torch.Generator]) -> None:
    """Put a packed state into a learner that was built alike; raises `UserError`, and changes nothing, where
    it does not fit.
    """
    before = pack(learning, generators)
    try:
        _apply(packed, learning, generators)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        _apply(before, learning, generators)
        raise UserError(
            f"the saved training state does not fit this network, rule and optimizer ({error}): start afresh"
        ) from error


def _apply(packed: Tensors, learning: Learning, generators: dict[str, torch.Generator]) -> None:
    with torch.no_grad():
        learning.network.load_state_dict(
            {name: packed[f"weights.{name}"] for name in learning.network.state_dict()}
        )
        for name, optimizer in _optimizers(learning).items():
            _unpack_optimizer(name, optimizer, packed)
        learning.rule_state = _restore("rule", learning.rule_state, packed)
        learning.rates = _restore("rates", learning.rates, packed)
        for name, generator in (generators | {"learner": learning.generator}).items():
            generator.set_state(packed[f"generator.{name}"])


def _optimizers(learning: Learning) -> dict[str, torch.optim.Optimizer]:
    found = {"optimizer": learning.optimizer}
    if learning.feedback_optimizer is not None:
        found["feedback_optimizer"] = learning.feedback_optimizer
    return found


def move(learning: Learning, device: torch.device) -> None:
    """Move all tensors to a device; those that an optimizer holds stay the same objects there."""
    learning.network.to(device)
    learning.state = _moved(learning.state, device)
    for optimizer in _optimizers(learning).values():
        for state in optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and name != "step":
                    state[name] = value.to(device)
    for tensor in learning.stored.tensors:
        tensor.data = tensor.data.to(device)


def _moved(tree: Any, device: torch.device) -> Any:
    if isinstance(tree, Tensor):
        tree.data = tree.data.to(device)
        return tree
    if isinstance(tree, tuple):
        items = cast(tuple[Any, ...], tree)
        make: Any = getattr(items, "_make", tuple)
        return make([_moved(item, device) for item in items])
    return tree


def agree(learning: Learning, generators: dict[str, torch.Generator], group: ProcessGroup) -> None:
    """Let every process of a group, none of which has begun a sequence, go on from rank 0's state."""
    if group.size > 1:
        unpack(_told(pack(learning, generators), group), learning, generators)


def agree_on_weights(network: Network, group: ProcessGroup) -> None:
    """Let every process of a group have rank 0's weights."""
    if group.size > 1:
        network.load_state_dict(_told(network.state_dict(), group))


def _told(tensors: Tensors, group: ProcessGroup) -> Tensors:
    return load(group.tell(save({name: tensor.contiguous() for name, tensor in tensors.items()})))


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
    """Its state per parameter, and the numbers among its settings, which schedulers change."""
    packed: Tensors = {}
    kept: dict[str, Any] = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = kept["state"]
    for index, entries in state.items():
        for name, value in entries.items():
            if value is not None:
                given = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
                packed[f"{prefix}.{index}.{name}"] = given
    groups: list[dict[str, Any]] = kept["param_groups"]
    for index, group in enumerate(groups):
        for name, value in group.items():
            if _number(value):
                packed[f"{prefix}_group.{index}.{name}"] = torch.tensor(value, dtype=torch.float64)
    return packed


def _unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, packed: Tensors) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    groups: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
    for key, value in packed.items():
        kind, _, rest = key.partition(".")
        if kind == prefix:
            index, name = rest.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        elif kind == f"{prefix}_group":
            index, name = rest.split(".", 1)
            groups[int(index)][name] = value.item()
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
