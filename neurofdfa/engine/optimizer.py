"""Optimizer steps without detours: torch's own state, one pass over memory."""

from typing import Any

import torch
from torch import Tensor

from neurofdfa.engine.execution import Execution
from neurofdfa.engine.kernels.adam import adam_rows
from neurofdfa.engine.parameters import Gradients


def plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Whether this is `torch.optim.Adam` without options that change its arithmetic."""
    if type(optimizer) is not torch.optim.Adam or _hooked(optimizer):
        return False
    special = ("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay")
    return all(
        not any(group.get(name) for name in special) and not isinstance(group["lr"], Tensor)
        for group in optimizer.param_groups
    )


def plain_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether this is `torch.optim.SGD` that only subtracts lr · gradient."""
    if type(optimizer) is not torch.optim.SGD or _hooked(optimizer):
        return False
    special = ("momentum", "weight_decay", "maximize", "nesterov", "differentiable")
    return all(not any(group[name] for name in special) for group in optimizer.param_groups)


def _hooked(optimizer: Any) -> bool:
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def apply_adam(execution: Execution, optimizer: Any, gradients: Gradients, learnt: list[Tensor]) -> None:
    """Adam on the parameters that learn; their gradients are left at zero."""
    chosen = {id(p) for p in learnt}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if id(p) in chosen:
                _step(execution, optimizer.state[p], group, gradients, p)
    optimizer._opt_called = True  # what a learning-rate scheduler looks at


def _step(
    execution: Execution, state: dict[str, Any], group: dict[str, Any], gradients: Gradients, p: Tensor
) -> None:
    if not state:
        state["step"] = torch.tensor(0.0, dtype=torch.float32)
        state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
    for name in ("exp_avg", "exp_avg_sq"):
        if state[name].stride() != p.stride():  # a checkpoint may bring another layout
            state[name] = torch.empty_like(p).copy_(state[name])
    state["step"] += 1
    step, (beta1, beta2) = float(state["step"]), group["betas"]
    numbers = (
        1.0 - beta1,
        float(beta2),
        float(group["lr"]) / (1.0 - beta1**step),
        (1.0 - beta2**step) ** 0.5,
        float(group["eps"]),
        float(group["weight_decay"]),
    )
    packed, form = execution.packed[id(p)], gradients.of[id(p)][1]
    moments = (state["exp_avg"].data_ptr(), state["exp_avg_sq"].data_ptr())
    start = (execution.one, p.data_ptr(), packed.copy.data_ptr(), gradients.address(p, 0), *moments)
    shape = (form.rows, form.n, form.wide)
    execution.share(form.rows, lambda a, b: adam_rows(*start, *shape, a, b, numbers))
    torch.autograd.graph.increment_version(p)
    if packed.grid is None:
        packed.refreshed()
