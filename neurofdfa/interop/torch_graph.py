"""A PyTorch model with neurons of snnTorch, Norse or SpikingJelly, as it comes, written as a NIR graph.

The model runs once on a sample, and what its modules and functions hand to each other becomes the graph:
a forward with its own loop over time, functional pools and views included. The first step is enough;
recording ends when a neuron is called for the second time.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Literal, cast

import nir
import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neurofdfa.errors import UserError
from neurofdfa.interop.torch_nodes import DT, Array, Neurons, Shape, neurons, node_of, normalised, weights

MaxPool = Literal["spikes", "average"]
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "Identity")
# What gives the same numbers in another order of axes or another type.
_SAME = {
    "view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "contiguous", "float", "double", "to",
    "clone", "detach", "type", "cuda", "cpu", "__getitem__", "select", "narrow", "index_select", "view_as",
    "type_as",
}  # fmt: skip
_DROPPED = {"dropout", "dropout1d", "dropout2d", "feature_dropout", "alpha_dropout"}


def nir_from_torch(model: nn.Module, sample: Tensor, *, max_pool: MaxPool | None = None) -> nir.NIRGraph:
    """The graph of `model`, run once on `sample`: what its forward takes, batch (and time) axes included.

    Layers: Linear, Conv1d, Conv2d, BatchNorm (folded), average and maximum pools, Flatten, Dropout (as in
    evaluation). Neurons: `torch_nodes`. A maximum pool behind neurons is exact: it fires when one of its
    neurons does. One between weights and neurons takes the maximum of currents, which no synapse does, and is
    refused unless `max_pool` says what stands for it: "spikes" moves it behind the neurons, "average" is a
    mean.
    Raises `UserError`, naming the module or function, for what Loihi's neurons and synapses do not do.
    """
    trace = _Trace(max_pool)
    trace.know(sample, ("input",))
    named = cast(Iterable[tuple[str, nn.Module]], model.named_modules())
    names = {module: name or "model" for name, module in named}
    training = model.training
    model.eval()
    try:
        with _hooked(trace, names), torch.no_grad(), trace:
            model(sample)
    except _RecordedError:
        pass
    finally:
        model.train(training)
    return trace.graph()


class _RecordedError(Exception):
    """Ends a run when everything has been seen."""


@contextmanager
def _hooked(trace: "_Trace", names: dict[nn.Module, str]) -> Generator[None]:
    handles: list[Any] = []
    inside: set[nn.Module] = set()
    for module, name in names.items():
        if module in inside:
            continue
        neuron = neurons(name, module)
        if neuron is not None:
            inside.update(m for m in module.modules() if m is not module)
        elif next(module.children(), None) is not None:
            continue
        handles.append(module.register_forward_pre_hook(trace.enter))
        handles.append(module.register_forward_hook(trace.leaver(name, neuron)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Trace(TorchFunctionMode):
    """What was seen: nodes and edges, and for every tensor the nodes whose outputs are summed in it."""

    def __init__(self, max_pool: MaxPool | None) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, Shape] = {}
        self.spiking: set[str] = set()
        self.pending: dict[str, tuple[tuple[str, ...], Array]] = {}
        self.sources: dict[int, tuple[str, ...]] = {}
        self.alive: list[Tensor] = []
        self.called: set[str] = set()
        self.last: tuple[str, ...] = ()
        self.depth = 0

    def know(self, tensor: Tensor, sources: tuple[str, ...]) -> None:
        """`tensor` is the sum of what these nodes put out; it is kept, so that its identity stays its own."""
        self.sources[id(tensor)] = sources
        self.alive.append(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if self.depth == 0 and name == "unbind" and id(args[0]) in self.sources:
            for row in result:  # a loop over the steps of a tensor
                self.know(row, self.sources[id(args[0])])
        if self.depth == 0 and isinstance(result, Tensor):
            given = [a for a in args if isinstance(a, Tensor) and id(a) in self.sources]
            if given:
                self._function(name, given, args, kwargs or {}, result)
        return result

    def _function(
        self, name: str, given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> None:
        sources = self.sources[id(given[0])]
        if name in _SAME or name in _DROPPED:
            self.know(result, sources)
        elif name in ("add", "__add__", "add_", "__iadd__", "__radd__") and len(given) == 2:
            self.know(result, (*sources, *self.sources[id(given[1])]))
        elif name in ("max_pool2d", "boolean_dispatch", "max_pool2d_with_indices", "avg_pool2d"):
            window = kwargs.get("kernel_size", args[1] if len(args) > 1 else None)
            stride = kwargs.get("stride", args[2] if len(args) > 2 else None)
            padding = kwargs.get("padding", args[3] if len(args) > 3 else 0)
            self._pool(
                f"{name} of {'+'.join(sources)}",
                name != "avg_pool2d",
                given[0],
                window,
                stride,
                padding,
                result,
            )
        elif name in ("mul", "__mul__", "__rmul__", "mul_") and len(given) == 1:
            factor = next((a for a in args if isinstance(a, int | float)), None)
            shape = tuple(result.shape[1:])
            if factor is not None:
                scale = nir.Scale(np.full(shape, float(factor)))
                self.know(
                    result, (self._node(f"{factor:g} times {'+'.join(sources)}", scale, sources, shape),)
                )
        elif name in ("relu", "relu_") and all(source in self.spiking for source in sources):
            self.know(result, sources)  # spikes are not below zero
        # Anything else is followed no further; a module that hears its result is told so.

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Functions inside a module are its own business."""
        self.depth += 1

    def leaver(self, name: str, neuron: Neurons | None) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """A hook for the end of a module's forward."""

        def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                self._module(name, neuron, module, args, output)

        return leave

    def _module(
        self, name: str, neuron: Neurons | None, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> None:
        where = f"module {name!r} ({type(module).__name__})"
        heard: Tensor = args[0]
        result = cast(Tensor, cast(tuple[Any, ...], output)[0] if isinstance(output, tuple) else output)
        sources = self.sources.get(id(heard))
        if neuron is not None and name in self.called:
            raise _RecordedError
        if sources is None:
            raise UserError(
                f"{where} hears a tensor that no known module or function made: write what stands before it "
                "with modules, or functions that only view, pool or add"
            )
        shape = tuple(heard.shape[1:])
        if sources == ("input",) and "input" not in self.nodes:
            self.nodes["input"] = nir.Input(np.array(shape))
            self.shapes["input"] = shape
        if neuron is not None:
            self.called.add(name)
            self._neurons(name, neuron, sources, tuple(heard.shape[1:]), result)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            (only,) = sources if len(sources) == 1 else ("",)
            if name not in self.called:
                self.nodes[only] = normalised(where, self.nodes.get(only), module)
                self.called.add(name)
            self.know(result, sources)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            greatest = isinstance(module, nn.MaxPool2d)
            self._pool(name, greatest, heard, module.kernel_size, module.stride, module.padding, result)
        elif isinstance(module, nn.Flatten) or type(module).__name__ in _DROPOUTS:
            self.know(result, sources)
        elif (node := weights(where, module, shape)) is not None:
            self._node(name, node, self._flat(name, sources, node), tuple(result.shape[1:]))
            self.know(result, (name,))
        else:
            raise UserError(
                f"{where} is no layer or neuron that Loihi has: use Linear, Conv1d, Conv2d, BatchNorm, "
                "pools, Flatten, Dropout, and neurons of snnTorch, Norse or SpikingJelly"
            )

    def _node(self, name: str, node: nir.NIRNode, sources: tuple[str, ...], shape: Shape) -> str:
        if name in self.nodes:
            if all((source, name) in self.edges for source in sources):
                return name  # heard by something else, too, or the next step
            raise UserError(f"module {name!r} is used twice in one step: give each place a module of its own")
        for source in sources:
            if source in self.pending:
                raise UserError(
                    f"{source!r} takes the maximum of currents before weights: put neurons between them"
                )
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [(source, name) for source in sources]
        self.last = (name,)
        return name

    def _flat(self, name: str, sources: tuple[str, ...], node: nir.NIRNode) -> tuple[str, ...]:
        """Linear layers hear flat neurons."""
        if not isinstance(node, nir.Linear | nir.Affine):
            return sources
        found: list[str] = []
        for source in sources:
            shape = self.shapes.get(source, ())
            if len(shape) > 1:
                flat = nir.Flatten({"input": np.array(shape)}, 0, -1)
                source = self._node(f"{name}.flatten", flat, (source,), (int(np.prod(shape)),))
            found.append(source)
        return tuple(found)

    def _neurons(
        self, name: str, neuron: Neurons, sources: tuple[str, ...], shape: Shape, result: Tensor
    ) -> None:
        pool = self.pending.pop(sources[0], None) if len(sources) == 1 else None
        if pool is not None:
            sources = pool[0]
            shape = self.shapes[sources[0]]
        if neuron.inputs is not None:
            sources = (self._node(f"{name}.input", nir.Linear(neuron.inputs), sources, shape),)
            shape = (len(neuron.inputs),)
        if neuron.late:
            if any(np.any(getattr(self.nodes[source], "bias", 0.0)) for source in sources):
                raise UserError(f"{name!r} hears its input a step late and a bias at once: use bias=False")
            delay = nir.Delay(np.full(shape, neuron.late * DT))
            sources = (self._node(f"{name}.delay", delay, sources, shape),)
        self._node(name, node_of(neuron, shape), sources, shape)
        own = neuron.recurrent
        if own is not None:
            node = _own_weights(name, own, shape)
            hears = self._flat(f"{name}.recurrent", (name,), node)
            self._node(f"{name}.recurrent", node, hears, shape)
            self.edges.append((f"{name}.recurrent", name))
        if neuron.reset is not None:
            self.spiking.add(name)
        out = (name,)
        if pool is not None:
            out = (self._any_of(f"{name}.pool", pool[1], name, tuple(result.shape[1:])),)
        self.last = out
        self.know(result, out)

    def _pool(
        self, name: str, greatest: bool, heard: Tensor, window: Any, stride: Any, padding: Any, result: Tensor
    ) -> None:
        sources = self.sources[id(heard)]
        size = np.broadcast_to(np.asarray(window), (2,))
        step = size if stride in (None, ()) else np.broadcast_to(np.asarray(stride), (2,))
        border = np.broadcast_to(np.asarray(padding), (2,))
        form = np.stack([size, step, border])
        shape = tuple(result.shape[1:])
        if greatest and len(sources) == 1 and sources[0] in self.spiking:
            self.know(result, (self._any_of(name, form, sources[0], shape),))
        elif greatest and self.max_pool is None:
            raise UserError(
                f"{name!r} takes the maximum of currents, which no synapse does: pool behind the neurons, "
                "which is exact, or pass max_pool='spikes' (the pool moves there) or 'average', and see how "
                "many spikes change"
            )
        elif greatest and self.max_pool == "spikes":
            self.pending[name] = (sources, form)
            self.know(result, (name,))
        else:
            self._node(name, nir.AvgPool2d(size, step, border), sources, shape)
            self.know(result, (name,))

    def _any_of(self, name: str, form: Array, source: str, shape: Shape) -> str:
        """Neurons that fire when one of those in their window does."""
        size, step, border = form
        self._node(f"{name}.sum", nir.SumPool2d(size, step, border), (source,), shape)
        self._node(name, nir.Threshold(np.full(shape, 0.5)), (f"{name}.sum",), shape)
        self.spiking.add(name)
        return name

    def graph(self) -> nir.NIRGraph:
        """All of it; raises `UserError` for a model that ends in anything but neurons."""
        if not self.last:
            raise UserError("the model called no layer or neuron that is known")
        (last,) = self.last
        if not isinstance(
            self.nodes[last], nir.LIF | nir.CubaLIF | nir.IF | nir.LI | nir.CubaLI | nir.I | nir.Threshold
        ):
            shape = self.shapes[last]
            # Weights at the end: what they sum is read step by step.
            readout = nir.LI(np.full(shape, DT), np.ones(shape), np.zeros(shape))
            last = self._node(f"{last}.readout", readout, (last,), shape)
        self.nodes["output"] = nir.Output(np.array(self.shapes[last]))
        said = {"format": "neurofdfa-nir/1", "dt": DT, "integrator": "euler", "reset": "hard"}
        return nir.NIRGraph(self.nodes, [*self.edges, (last, "output")], metadata=said, type_check=False)


def _own_weights(name: str, own: nn.Module | Array, shape: Shape) -> nir.NIRNode:
    if isinstance(own, nn.Module):
        node = weights(f"the recurrent weights of {name!r}", own, shape)
        assert node is not None  # linear or convolutional
        return node
    size = int(np.prod(shape))
    return nir.Linear(np.diag(np.broadcast_to(own, shape).reshape(size)) if own.ndim < 2 else own)
