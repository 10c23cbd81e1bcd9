"""Random integer networks for hypothesis: the same strategy drives the scalar oracle and real Lava."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.program import (
    ALWAYS_ON,
    Connection,
    IntArray,
    Population,
    Program,
    SignMode,
    graded_population,
    layer_depths,
)

SIGN_MODES: tuple[SignMode, ...] = ("mixed", "excitatory", "inhibitory")


def _per_neuron(draw: st.DrawFn, size: int, elements: st.SearchStrategy[int], arrays: bool) -> IntArray:
    shape = (size,) if arrays and draw(st.booleans()) else ()
    return np.asarray(draw(hnp.arrays(np.int64, shape, elements=elements)), np.int64)


def _population(
    draw: st.DrawFn,
    name: str,
    size: int,
    per_neuron: bool,
    wrap: bool,
    spiking: bool,
    loudness: int,
    resets: bool = False,
) -> Population:
    decay = st.one_of(st.integers(0, 4095), st.sampled_from((0, 1, 4094, 4095)))
    slow = st.integers(0, 40) if wrap and draw(st.booleans()) else decay
    # A threshold near one step's input makes spikes common; the full range makes them rare but must work too.
    vth = st.one_of(st.integers(0, min(131071, loudness)), st.integers(0, 131071), st.just(131071))
    mant = st.one_of(st.just(0), st.integers(-4096, 4095))
    population = Population(
        name=name,
        size=size,
        du=_per_neuron(draw, size, slow, per_neuron),
        dv=_per_neuron(draw, size, decay, per_neuron),
        vth=_per_neuron(draw, size, vth, per_neuron),
        bias_mant=_per_neuron(draw, size, mant, per_neuron),
        bias_exp=_per_neuron(draw, size, st.integers(0, 7), per_neuron),
        spiking=spiking,
    )
    return _with_reset(draw, population, per_neuron) if resets and spiking else population


def _with_reset(draw: st.DrawFn, population: Population, per_neuron: bool) -> Population:
    """Any of the resets that a population may have."""
    kind = draw(st.sampled_from(("plain", "soft", "none", "value", "refractory")))
    if kind == "plain":
        return population
    if kind == "none":
        return replace(population, reset="soft")
    threshold = int(np.min(population.vth)) << 6
    if kind == "soft":
        top = 2**23 - 1
        amount = st.one_of(st.just(threshold), st.integers(0, min(2 * threshold, top)), st.integers(0, top))
        return replace(
            population, reset="soft", reset_value=_per_neuron(draw, population.size, amount, per_neuron)
        )
    value = st.one_of(
        st.just(0), st.integers(-(2**16), 0), st.integers(-(2**23) + 1, min(threshold, 2**23 - 1))
    )
    pause = draw(st.integers(1, 4)) if kind == "refractory" else 0
    value = _per_neuron(draw, population.size, value, per_neuron)
    return replace(population, reset_value=value, refractory=pause)


def _geometry(draw: st.DrawFn, image: tuple[int, int, int]) -> Kernel:
    """A kernel of zeros that fits `image`."""
    groups = draw(st.sampled_from([g for g in (1, 2) if image[0] % g == 0]))
    padding = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
    size: list[int] = []
    dilation: list[int] = []
    for axis in (0, 1):
        room = image[axis + 1] + 2 * padding[axis]
        size.append(draw(st.integers(1, min(3, room))))
        dilation.append(draw(st.integers(1, 2)) if 2 * (size[-1] - 1) < room else 1)
    values = np.zeros((groups * draw(st.integers(1, 2)), image[0] // groups, *size), np.int64)
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    return Kernel(values, image, stride, padding, (dilation[0], dilation[1]), groups)


def _images(draw: st.DrawFn, count: int) -> tuple[list[tuple[int, int, int]], list[Kernel | None]]:
    """Shapes of the input and of `count` layers, some of them convolved out of the one before."""
    image = (draw(st.integers(1, 2)), draw(st.integers(2, 5)), draw(st.integers(2, 5)))
    images, kernels = [image], []
    for _ in range(count):
        kernel = _geometry(draw, image) if draw(st.integers(0, 3)) else None
        image = (draw(st.integers(1, 6)), 1, 1) if kernel is None else kernel.out
        images.append(image)
        kernels.append(kernel)
    return images, kernels


@st.composite
def programs(
    draw: st.DrawFn,
    *,
    layers: tuple[int, int] = (1, 3),
    max_size: int = 6,
    bits: tuple[int, int] = (1, 8),
    sign_modes: Sequence[SignMode] = SIGN_MODES,
    exponents: tuple[int, int] = (-3, 6),
    per_neuron: bool = True,
    wrap: bool = True,
    delays: bool = False,
    recurrent: bool = False,
    feedback: bool = False,
    skip: bool = False,
    graded: bool = False,
    integrator: bool = False,
    convolutional: bool = False,
    payloads: bool = False,
    resets: bool = False,
    always_on: bool = False,
) -> Program:
    """Feed-forward chains `l1 … ln`, each option adding what its name says to some of them.

    delays: none, scalar or per-synapse, 0…5. recurrent: self-connections. feedback: from the last layer to
    the first. skip: input to the last layer, with the delay that the skipped layers cost. graded: the input
    carries payloads. integrator: the last layer does not spike and is read through its membrane.
    convolutional: layers are images. payloads: hidden layers may send graded spikes.
    wrap: weights, exponents and decays that push u over 24 bits are likely.
    """
    if convolutional:
        images, kernels = _images(draw, draw(st.integers(*layers)))
        sizes = [int(np.prod(image)) for image in images]
    else:
        sizes = draw(st.lists(st.integers(1, max_size), min_size=layers[0] + 1, max_size=layers[1] + 1))
        images, kernels = [], [None] * (len(sizes) - 1)
    last = len(sizes) - 1
    sends = [
        draw(st.sampled_from(("spikes", "sums", "positive sums"))) if payloads and 0 < i < last else "spikes"
        for i in range(len(sizes))
    ]
    names = ["input", *(f"l{i}" for i in range(1, len(sizes)))]
    highest = min(exponents[1], 2) if graded else exponents[1]

    def connect(
        name: str, source: int, target: int, least_delay: int = 0, kernel: Kernel | None = None
    ) -> Connection:
        loud = sends[source] != "spikes"  # a payload grows with every layer
        top = min(highest, -3) if loud else highest
        weight_exp = draw(st.integers(min(exponents[0], top), top))
        if wrap and not loud and draw(st.booleans()):
            weight_exp = top
        shape = (sizes[target], sizes[source])
        delay: IntArray | None = np.asarray(least_delay, np.int64) if least_delay else None
        if delays:
            own = ("matrix",) if kernel is None else ("by source", "by target")
            kind = draw(st.sampled_from(("none", "scalar", *own)))
            sizes_of = {"scalar": (), "matrix": shape, "by source": (1, shape[1]), "by target": (shape[0], 1)}
            steps = st.integers(least_delay, 5)
            if kind != "none":
                delay = np.asarray(draw(hnp.arrays(np.int64, sizes_of[kind], elements=steps)))
        weights = st.integers(-300, 300)
        if kernel is None:
            weight = draw(hnp.arrays(np.int64, shape, elements=weights))
            weight[draw(hnp.arrays(np.bool_, shape)) if convolutional else np.zeros(shape, bool)] = 0
        else:
            values = draw(hnp.arrays(np.int64, kernel.values.shape, elements=weights))
            weight = replace(kernel, values=values)
        carries = loud or (source == 0 and target == 1 and graded and draw(st.booleans()))
        return Connection(
            name=name,
            source=names[source],
            target=names[target],
            weight=weight,
            weight_exp=weight_exp,
            num_weight_bits=draw(st.integers(*bits)),
            sign_mode=draw(st.sampled_from(tuple(sign_modes))),
            delay=delay,
            graded=carries,
        )

    connections = [connect(f"c{i}", i - 1, i, kernel=kernels[i - 1]) for i in range(1, len(sizes))]
    if recurrent:
        for i in range(1, last + 1):
            image = images[i] if convolutional and draw(st.booleans()) else None
            own = image and Kernel(np.zeros((image[0], image[0], 3, 3), np.int64), image, padding=(1, 1))
            if draw(st.booleans()):
                connections.append(connect(f"r{i}", i, i, kernel=own))
    if feedback and last > 1 and draw(st.booleans()):
        connections.append(connect("feedback", last, 1))
    if skip and last > 1 and draw(st.booleans()):
        connections.append(connect("skip", 0, last, least_delay=last - 1))
    if always_on:
        for i in range(1, last + 1):
            if draw(st.booleans()):
                on = Connection(
                    f"on{i}",
                    ALWAYS_ON,
                    names[i],
                    draw(hnp.arrays(np.int64, (sizes[i], 1), elements=st.integers(-300, 300))),
                    draw(st.integers(exponents[0], min(0, highest))),
                    draw(st.integers(*bits)),
                    draw(st.sampled_from(tuple(sign_modes))),
                )
                connections.append(on)
    populations = tuple(
        graded_population(names[i], sizes[i], draw(st.integers(0, 500)), sends[i])
        if sends[i] != "spikes"
        else _population(
            draw,
            names[i],
            sizes[i],
            per_neuron,
            wrap,
            spiking=not (integrator and i == last),
            loudness=150 << max(0, connections[i - 1].weight_exp),
            resets=resets,
        )
        for i in range(1, len(sizes))
    )
    decode = draw(st.sampled_from(("last", "mean"))) if integrator else "count"
    return Program(sizes[0], populations, tuple(connections), names[-1], decode)


@st.composite
def cases(
    draw: st.DrawFn, *, steps: tuple[int, int] = (1, 12), batch: tuple[int, int] = (1, 3), **options: object
) -> tuple[Program, np.ndarray]:
    """A program and spikes uint8 `[T, B, n_in]` for it; payloads up to 255 when `graded`."""
    program = draw(programs(**options))  # type: ignore[arg-type]
    shape = (draw(st.integers(*steps)), draw(st.integers(*batch)), program.input_size)
    numbers = any(c.graded and c.source == "input" for c in program.connections)
    values = st.integers(0, 255) if numbers else st.integers(0, 1)
    return program, draw(hnp.arrays(np.uint8, shape, elements=values))


def deepest(program: Program) -> int:
    """Depth of the latest layer: the extra steps a chip needs to finish a sample."""
    return max(layer_depths(program).values())
