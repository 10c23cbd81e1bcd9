"""Optimizer steps without detours: torch's own state, one pass over memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurofdfa.events.kernels.update import update
from neurofdfa.events.parameters import Gradients, Packed
from neurofdfa.events.records import Update, memory_of
from neurofdfa.events.session import KernelSession


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


def running_average(
    early_gain: float,
    optimizer: torch.optim.Optimizer,
    matrices: Sequence[Tensor],
    weight: float,
    count: int,
) -> tuple[float, float] | None:
    """How much one update keeps of probed feedback and takes of Σ Ĵ, or None where it is no plain average.

    early_gain: what the estimates weigh more; weight: of one step; count: steps since the last update.
    """
    if not plain_sgd(optimizer) or not all(b.is_contiguous() for b in matrices):
        return None
    rate = optimizer.param_groups[0]["lr"] * early_gain * weight
    return 1.0 - rate * count, rate


class OnePass:
    """Updates weights by Adam and feedback by its running average, all of them in one call of a kernel.

    learnt: parameters; followed: copies of the feedback matrices, whose gradients have the same form.
    """

    def __init__(
        self, execution: KernelSession, gradients: Gradients, learnt: Sequence[Tensor], followed: list[Packed]
    ) -> None:
        self.execution, self.learnt, self.followed = execution, learnt, followed
        self.packed = [execution.packed[id(p)] for p in learnt] + followed
        self.place = {id(p): k for k, p in enumerate(learnt)}
        self.records = (Update * len(self.packed))()
        self.memory = memory_of(self.records, Update)
        for row, packed in zip(self.records, self.packed, strict=True):
            form = gradients.of[id(packed.tensor)][1]
            row.panel_copy = packed.copy.data_ptr()
            row.panel_gradient = gradients.flat(packed.tensor).data_ptr()
            row.rows, row.columns, row.wide_panels = form
            row.follows = packed in followed

    def fits(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether it is plain Adam of all parameters: one of some, with layers frozen, is left to torch."""
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return plain_adam(optimizer) and own.issuperset(self.place)

    def step(self, optimizer: torch.optim.Optimizer | None, average: tuple[float, float] | None) -> None:
        """Adam on the parameters, unless another optimizer has them (None); B ← a B + c G, unless None."""
        first = 0 if optimizer is not None else len(self.learnt)
        last = len(self.packed) if average is not None else len(self.learnt)
        if first == last:
            return
        if optimizer is not None:
            self._prepare(optimizer)
        if average is not None:
            for row, packed in zip(self.records[len(self.learnt) :], self.followed, strict=True):
                row.parameter = packed.tensor.data_ptr()
                row.kept, row.taken = average
        one, these = self.execution.one, self.memory[first:last]
        self.execution.spread(lambda share, shares: update(one, these, share, shares))
        torch.autograd.graph.increment_version([packed.tensor for packed in self.packed[first:last]])
        for packed in self.packed[first:last]:
            if packed.grid is None:
                packed.refreshed()

    def _prepare(self, optimizer: Any) -> None:
        """Count the step and write where moments lie and by how much to go."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                k = self.place.get(id(p))
                if k is None:
                    continue
                state, row = optimizer.state[p], self.records[k]
                _complete(state, p)
                count, (beta1, beta2) = state["step"].numpy(), group["betas"]  # a view: cheaper to add to
                count += 1
                step = float(count)
                row.rise, row.beta2 = 1.0 - beta1, beta2
                row.step, row.root = group["lr"] / (1.0 - beta1**step), (1.0 - beta2**step) ** -0.5
                row.epsilon, row.decay = group["eps"], group["weight_decay"]
                row.parameter = p.data_ptr()
                row.first_moment, row.second_moment = (
                    state["exp_avg"].data_ptr(),
                    state["exp_avg_sq"].data_ptr(),
                )
        optimizer._opt_called = True  # what a learning-rate scheduler looks at


def _complete(state: dict[str, Any], p: Tensor) -> None:
    """Torch's own state of Adam, laid out like the parameter."""
    if not state:
        state["step"] = torch.tensor(0.0, dtype=torch.float32)
        state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
    for name in ("exp_avg", "exp_avg_sq"):
        if state[name].stride() != p.stride():  # a checkpoint may bring another layout
            state[name] = torch.empty_like(p).copy_(state[name])
