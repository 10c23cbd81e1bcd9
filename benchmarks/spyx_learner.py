"""A hidden layer trained by BPTT in Spyx (JAX), compiled as a whole, for `benchmarks/time_to_accuracy.py`.

The step is one compiled function of the weights and Adam's state: a scan over time, differentiated by JAX,
without objects between the batches, the fastest form that Spyx documents. JAX is told to use one thread
(`XLA_FLAGS`), which has to be done before it is imported.
"""

# pyright: basic
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.network import Network


class SpyxLearner(NamedTuple):
    """step: learns from `[T, B, n]` and labels `[B]`; outputs: `[T, B, n]` → `[T, B, k]`."""

    step: Callable[[Tensor, Tensor], None]
    outputs: Callable[[Tensor], Tensor]


def spyx_learner(network: Network, rate: float, x: Tensor, lr: float) -> SpyxLearner:
    """From the weights of a network with one hidden layer, scaled until it fires at a rate for x."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import spyx
    from flax import nnx

    layer, readout = network.hidden[0], network.readout.synapse
    neuron, rngs = layer.neuron, nnx.Rngs(0)
    spike = spyx.axn.superspike(k=1 / neuron.surrogate.width)
    model = spyx.nn.Sequential(
        nnx.Linear(layer.synapse.n_in, layer.n, use_bias=False, rngs=rngs),
        spyx.nn.LIF((layer.n,), beta=neuron.beta, threshold=neuron.v_threshold, activation=spike, rngs=rngs),
        nnx.Linear(layer.n, network.n_out, use_bias=False, rngs=rngs),
        spyx.nn.LI((network.n_out,), beta=1.0, rngs=rngs),
    )
    graph, kernels, rest = nnx.split(model, nnx.PathContains("kernel"), ...)
    _, tree = jax.tree.flatten(kernels)
    first, last = (jnp.asarray(w.detach().t().numpy()) for w in (layer.synapse.weight, readout.weight))
    scaled = partial(jax.tree.unflatten, tree)
    adam = optax.adam(lr)

    def run(kernels: Any, x: Any) -> Any:
        return spyx.nn.run(nnx.merge(graph, kernels, rest), x)[0]

    def loss(kernels: Any, x: Any, labels: Any) -> Any:
        y = run(kernels, x)
        each = optax.softmax_cross_entropy_with_integer_labels(y, jnp.broadcast_to(labels, y.shape[:2]))
        return each.mean()

    @jax.jit
    def update(kernels: Any, moments: Any, x: Any, labels: Any) -> Any:
        change, moments = adam.update(jax.grad(loss)(kernels, x, labels), moments, kernels)
        return optax.apply_updates(kernels, change), moments

    @jax.jit
    def fired(kernels: Any, x: Any) -> Any:
        parts = nnx.merge(graph, kernels, rest).layers
        hidden = spyx.nn.Sequential(*parts[:2])
        return spyx.nn.run(hidden, x)[0].mean()

    low, high = 0.25, 4.0
    for _ in range(12):  # only the first kernel decides how often the hidden layer fires
        scale = (low * high) ** 0.5
        found = float(fired(scaled([first * scale, last]), jnp.asarray(x.numpy())))
        low, high = (scale, high) if found < rate else (low, scale)
    state = [scaled([first * scale, last]), adam.init(scaled([first, last]))]
    forward = jax.jit(run)

    def step(x: Tensor, labels: Tensor) -> None:
        state[:] = update(*state, jnp.asarray(x.numpy()), jnp.asarray(labels.numpy()))
        jax.block_until_ready(state[0])

    def outputs(x: Tensor) -> Tensor:
        return torch.from_numpy(np.array(forward(state[0], jnp.asarray(x.numpy()))))

    return SpyxLearner(step, outputs)
