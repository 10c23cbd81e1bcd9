"""Numbers the kernels need besides the weights: decays, impulse responses, weights of the probes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.events.records import CAPACITY
from neurofdfa.events.support import SURROGATE_KINDS, spiking_layers
from neurofdfa.events.tables import Frame
from neurofdfa.events.tiling import tilings
from neurofdfa.nn.network import Network
from neurofdfa.rules.engine_facts import Prober
from neurofdfa.rules.traces import cascade

Floats = NDArray[np.float64]


def responses(decays: Sequence[float], steps: int) -> tuple[Floats, Floats]:
    """Of the trace stages (last first): response to a pulse `[3, CAPACITY]`, and the map `[3, 3]` that
    `steps` steps without input make of a state.
    """
    pulse = np.zeros((3, CAPACITY))
    state = np.zeros(3)
    for t in range(CAPACITY):
        state = _advance(decays, state, 1.0 if t == 0 else 0.0)
        pulse[:, t] = state
    moves = np.zeros((3, 3))
    for start in range(3):
        state = np.eye(3)[start]
        for _ in range(steps):
            state = _advance(decays, state, 0.0)
        moves[:, start] = state
    return pulse, moves


def ones_trace(decays: Sequence[float], steps: int, chunk: int) -> Floats:
    """Stages of the trace of a constant 1 at the start of every chunk, `[chunks, 3]`."""
    state, seen = np.zeros(3), list[Floats]()
    for t in range(steps):
        if t % chunk == 0:
            seen.append(state)
        state = _advance(decays, state, 1.0)
    return np.array(seen)


def _advance(decays: Sequence[float], state: Floats, x: float) -> Floats:
    kappa, beta, alpha = decays
    first = alpha * state[2] + x
    second = beta * state[1] + first
    return np.array([kappa * state[0] + second, second, first])


def probe_weights(decays: Sequence[float], steps: int, probed: int, *, output: bool) -> Floats:
    """Factor of Ĵ[t] in each step: the rule's normalisation by the noise kernel, averaged over samples."""
    stages: tuple[float, ...] = (0.0,) * sum(1 for d in decays if d)
    total = energy = 0.0
    weights = np.zeros(steps)
    for t in range(steps):
        h, stages = cascade(decays, 1.0 if t == 0 else 0.0, stages)
        total, energy = total + h, energy + h * h
        weights[t] = (1.0 if output else total) / (probed * energy)
    return weights


def fill(frame: Frame, network: Network, *, filtered: bool, dropout: bool) -> None:
    """Write a network's constants into a frame."""
    head = frame.head
    count, chunk, steps = head.hidden, head.chunk, head.steps
    kappa = head.kappa = network.readout.kappa
    pulses = frame.numbers(head.responses, (count + 2, 3, CAPACITY))
    moves = frame.numbers(head.transitions, (count + 2, 3, 3))
    ones = frame.numbers(head.ones, (count + 2, head.chunks, 3))
    frame.layers[0].scale = 1.0 / (1.0 - network.input_dropout) if dropout else 1.0
    for index, layer in enumerate(spiking_layers(network), 1):
        lif, row = layer.neuron, frame.layers[index]
        soft = lif.reset == "soft"
        (row.alpha, row.beta), row.theta = layer.mean_decays, lif.v_threshold
        row.kept, row.lost = (lif.beta, lif.v_threshold) if soft else (0.0, 0.0)
        row.hard = 1.0 if soft else 0.0
        attached = lif.reset_gradient == "attached"
        row.reset, row.through = lif.v_threshold * (attached and soft), float(attached and not soft)
        row.adaptation, row.rho = lif.adaptation, lif.rho
        row.inverse_width, row.height = 1.0 / lif.surrogate.width, lif.surrogate.height
        row.scale = 1.0 / (1.0 - layer.dropout) if dropout else 1.0
        row.trace_kappa = kappa if filtered else 0.0
        row.kind = SURROGATE_KINDS[type(lif.surrogate)]
        decays = (row.trace_kappa, lif.beta, lif.alpha)
        pulses[index], moves[index] = responses(decays, chunk)
        if layer.synapse.bias is not None:
            ones[index] = ones_trace(decays, steps, chunk)
    if network.readout.population is None:
        ones[count + 1] = ones_trace((kappa, 0.0, 0.0), steps, chunk)
    pulses[0], moves[0] = responses((kappa, 0.0, 0.0), chunk)
    head.mean_score = network.readout.decode == "mean"
    fill_decays(frame, network)


def fill_decays(frame: Frame, network: Network) -> None:
    """Write every neuron's decays into a frame."""
    tiled = (*tilings(network.hidden), None)
    for layer, tiling, row in zip(spiking_layers(network), tiled, frame.layers[1:], strict=False):
        for address, decay in ((row.alphas, layer.dynamics.alpha), (row.betas, layer.dynamics.beta)):
            values = frame.row(address, row.width)
            if isinstance(decay, Tensor):
                given = decay.detach()
                values[: layer.n] = given.numpy()
                if tiling is not None:
                    values[:] = tiling.spread(given).numpy()
            else:
                values.fill(decay)


def fill_probes(frame: Frame, network: Network, rule: Prober) -> None:
    """Write what tangents of probes need."""
    head = frame.head
    count, steps = head.hidden, head.steps
    output = rule.kernel == "output"
    weights = frame.numbers(head.probe_weights, (count, steps))
    decays = frame.numbers(head.noise_decays, (count, 16))
    for index, kernel in enumerate(rule.kernels(network)):
        kept = [d for d in kernel if d]
        decays[index, : len(kept)] = kept
        weights[index] = probe_weights(kernel, steps, head.probed, output=output)
    head.observe_output = output
    head.tangent_recurrent = rule.recurrent_tangents
