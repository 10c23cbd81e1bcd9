"""What every neuron is: a population that turns a drive into spikes with one pure step.

A neuron of your own says which states it keeps and how one step changes them; everything that learning needs
(tangents, eligibility traces, ψ) is derived from that step, see `neurofdfa.nn.derived`. The neurons that come
with the package are written the same way and have their derivatives written out as well, which is faster.
"""

import copy
from math import prod
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.surrogate import FastSigmoid, Surrogate, surrogate_spike


class Neuron(nn.Module):
    """Base of all spiking neurons; write `states` and `step` to make one of your own.

    states: names of what a neuron remembers; `state.s`, its last output, is there without being named.
    start: values at the start of a sequence, 0 for those that it does not name.
    decays: of what a spike leaves behind in the layers above, per step; the innovation kernel of FDFA and
    traces that are filtered downstream ask for them in networks of several layers.

    surrogate: ψ of `self.spike` (`neurofdfa.nn.surrogate`). dt: length of a step in seconds. recurrent: give
    the population synapses from its own spikes of the step before; `True` lets a `Network` make them, a
    `Linear` or `Conv2d` is used as it is.

    >>> class Quadratic(Neuron):
    ...     states = ("v",)
    ...
    ...     def step(self, drive, state):
    ...         v = state.v * (1 - state.s.detach())     # detached: learning does not see the reset
    ...         v = v + 0.1 * v * (v - 1) + drive
    ...         return self.spike(v - 1.5), (v,)
    >>> spikes, state = Quadratic()(torch.ones(2, 3))
    """

    states: ClassVar[tuple[str, ...]] = ()
    start: ClassVar[dict[str, float]] = {}
    decays: tuple[float, ...] | None = None
    State: ClassVar[Any] = None
    """Named tuple of `states` and the output s."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "states" in cls.__dict__ and "State" not in cls.__dict__:
            if "s" in cls.states:
                raise UserError(f"{cls.__name__}: 's' is the last output, name the state otherwise")
            fields: list[tuple[str, Any]] = [(name, Tensor) for name in (*cls.states, "s")]
            cls.State = NamedTuple(f"{cls.__name__}State", fields)  # pyright: ignore[reportGeneralTypeIssues]

    def __init__(
        self,
        *,
        surrogate: Surrogate | None = None,
        dt: float = 1e-3,
        recurrent: bool | Linear | Conv2d = False,
    ) -> None:
        super().__init__()
        if self.State is None:
            raise UserError(f"{type(self).__name__} does not say what it remembers: states = ('v',)")
        self.surrogate: Surrogate = FastSigmoid() if surrogate is None else surrogate
        self.dt = dt
        self.recurrent: Linear | Conv2d | None = None if isinstance(recurrent, bool) else recurrent
        self.wants_recurrent = recurrent is True
        self.shape: tuple[int, ...] = ()

    @property
    def constants(self) -> tuple[Any, ...]:
        """The settings that an engine copies when it is made: where they have changed, it is made anew."""
        return self.dt, self.surrogate

    def step(self, drive: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One time step as a pure function: nothing is written to `self`, every neuron is on its own.

        drive: what arrives from synapses, `[B, n]`; state: a named tuple of tensors like it. Returns the
        output, `[B, n]`, and the new states in the order of `states`. What is detached inside (a reset, say)
        is what learning does not differentiate.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def spike(self, distance: Tensor) -> Tensor:
        """1 where the distance from threshold is above 0, else 0; its derivative is ψ of the surrogate."""
        return surrogate_spike(self.surrogate)(distance)

    def advance(self, drive: Tensor, before: Any) -> Any:
        """The state after a step, its output among it."""
        output, values = self.step(drive, before)
        if not isinstance(cast(Any, values), tuple) or len(values) != len(self.states):
            raise UserError(
                f"the step of {type(self).__name__} returns the output and a tuple of its {len(self.states)} "
                f"states ({', '.join(self.states)})"
            )
        return self.State(*values, output)

    def initial_state(self, zero: Tensor) -> Any:
        """At the start of a sequence. zero: zeros `[B, n]` on the right device and of the right dtype."""
        return self.State(*(zero + self.start.get(name, 0.0) for name in self.states), zero)

    def initial_tangent(self, zero: Tensor) -> Any:
        """All zero."""
        return self.State(*(zero for _ in self.State._fields))

    def copy(self) -> Self:
        """A population with the same settings that knows no sizes yet and has drawn nothing."""
        made = copy.deepcopy(self)
        made.shape = ()
        if made.wants_recurrent:
            made.recurrent = None
        return made

    def place(self, shape: tuple[int, ...], kernel: tuple[int, int] | None) -> None:
        """Learn the population's shape, (n,) or (channels, rows, columns), from the network; called once.

        kernel: of the convolution below, which a recurrent one repeats. Raises `UserError` where recurrent
        synapses do not fit.
        """
        self.shape = shape
        if not self.wants_recurrent or self.recurrent is not None:
            return
        if kernel is None:
            self.recurrent = Linear(prod(shape), prod(shape))
        elif kernel[0] != kernel[1] or kernel[0] % 2 == 0:
            raise UserError(
                "a recurrent convolution keeps its image's size with a square kernel of odd size only, not "
                f"with {kernel[0]} x {kernel[1]}"
            )
        else:
            self.recurrent = Conv2d(shape[0], shape[0], kernel, padding=kernel[0] // 2)

    def draw(self, generator: torch.Generator) -> None:
        """Draw what differs from neuron to neuron; a network calls this once its weights are drawn."""

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step of the population alone. x: drive, `[B, …]` → spikes of the same shape, and state."""
        if self.wants_recurrent and self.recurrent is None:
            raise UserError(
                f"{type(self).__name__}(recurrent=True) gets its synapses from a Network: alone, give them, "
                "recurrent=Linear(n, n)"
            )
        drive = x.flatten(1)
        before = self.initial_state(torch.zeros_like(drive)) if state is None else state
        if self.recurrent is not None:
            own = before.s.view_as(x) if isinstance(self.recurrent, Conv2d) else before.s
            drive = drive + self.recurrent(own)[0].flatten(1)
        after = self.advance(drive, before)
        return after.s.view_as(x), after

    def extra_repr(self) -> str:
        """The sizes and settings."""
        size = (
            f"n={prod(self.shape)}" if len(self.shape) == 1 else f"shape={self.shape}" if self.shape else ""
        )
        return ", ".join(part for part in (size, self.settings()) if part)

    def settings(self) -> str:
        """What the repr says of the neuron itself."""
        return ""
