"""The loop over blocks of samples and chunks of time: the one entry point."""

from collections.abc import Sequence

from neurofdfa.events import simd
from neurofdfa.events.compiled import jit, part
from neurofdfa.events.kernels.convolution import forward_image, learn_image
from neurofdfa.events.kernels.forward import forward_layer
from neurofdfa.events.kernels.layout import group_samples, group_steps
from neurofdfa.events.kernels.learning import filter_errors, learn_layer, learn_readout
from neurofdfa.events.kernels.readout import forward_readout, read_out, tell_deltas, tell_targets
from neurofdfa.events.kernels.spikes import read_input
from neurofdfa.events.kernels.tangents import tangents
from neurofdfa.events.kernels.traces import keep_traces
from neurofdfa.events.records import Head, Layers

WHOLE, CLEAR, FORWARD, LEARN_FROM = range(4)


@part
def forward_block(
    one: float, head: Head, layers: Layers, begin: int, groups: int, start: int, steps: int
) -> None:
    """One chunk of a block of groups, up to errors and tangents."""
    top = head.top
    if head.input_kind != 3:
        for slot in range(groups):
            here = group_steps(head, begin + slot, start, steps)
            if here > 0:
                read_input(one, head, layers[0], begin + slot, slot, start, here)
    probing = head.probed > begin * head.samples
    if probing:  # the tangents need the spikes that the chunk began with
        for k in range(1, top + 1):
            layer = layers[k]
            panels = layer.panels
            for place in range(groups * head.samples):
                for panel in range(panels):
                    word = simd.load_i64(layer.fired + (place * panels + panel) * 8)
                    slot = place // head.samples
                    s = place - slot * head.samples
                    offset = (slot * top + k - 1) * head.samples * head.fired_pitch
                    simd.store_i64(head.fired + offset + (s * panels + panel) * 8, word)
    for k in range(1, top + 1):
        below, layer = layers[k - 1], layers[k]
        if layer.image != 0:
            forward_image(one, head, below, layer, begin, groups, start, steps)
        else:
            forward_layer(one, head, below, layer, begin, groups, start, steps)
    last, readout = layers[head.hidden], layers[head.hidden + 1]
    for slot in range(groups):
        here = group_steps(head, begin + slot, start, steps)
        if here == 0:
            continue
        forward_readout(one, head, last, readout, slot, begin + slot, start, here)
        read_out(one, head, slot, begin + slot, start, here)
        if head.tells == 1:
            tell_targets(one, head, slot, begin + slot, start, here)
        elif head.tells == 2:
            tell_deltas(one, head, readout, slot, group_samples(head, begin + slot) * here)
        if probing:
            words = head.fired + slot * top * head.samples * head.fired_pitch
            tangents(one, head, layers, slot, begin + slot, start, here, words)


@part
def learn_block(
    one: float, head: Head, layers: Layers, begin: int, groups: int, start: int, steps: int
) -> None:
    """Gradients of one chunk of a block of groups."""
    for k in range(head.top, 0, -1):
        below, layer = layers[k - 1], layers[k]
        if head.exact != 0:
            above = layers[min(k + 1, head.top)]
            for slot in range(groups):
                here = group_steps(head, begin + slot, start, steps)
                filter_errors(one, head, layer, above, slot, begin + slot, here)
        if layer.feedback != 0 and layer.image != 0:
            learn_image(one, head, below, layer, begin, groups, start, steps)
        elif layer.feedback != 0:
            learn_layer(one, head, below, layer, begin, groups, start, steps)
    for slot in range(groups):
        here = group_steps(head, begin + slot, start, steps)
        if here == 0:
            continue
        learn_readout(one, head, layers, slot, begin + slot, start, here)
        if start + steps < head.steps and head.backwards == 0:
            keep_traces(one, head, layers, slot, begin + slot, start, here)


@part
def moved(address: int, by: int) -> int:
    """An address of what is kept, if it is."""
    return address + by if address != 0 else 0


@part
def turn_to(head: Head, layers: Layers, chunk: int) -> None:
    """Point at what is kept of another chunk."""
    by = (chunk - head.turned) * head.kept_pitch
    head.turned = chunk
    if by == 0:
        return
    heard = head.heard != head.errors
    head.errors += by
    head.heard = head.heard + by if heard else head.errors
    for k in range(len(layers)):
        layer = layers[k]
        layer.lists = moved(layer.lists, by)
        layer.tally = moved(layer.tally, by)
        layer.own_lists = moved(layer.own_lists, by)
        layer.own_tally = moved(layer.own_tally, by)
        layer.spikes = moved(layer.spikes, by)
        layer.psi = moved(layer.psi, by)
        layer.membranes = moved(layer.membranes, by)
        layer.seen_lists = moved(layer.seen_lists, by)
        layer.seen_begins = moved(layer.seen_begins, by)


@part
def clear(head: Head) -> None:
    """States at the start of a sequence."""
    for offset in range(0, head.zeroed_bytes, 8):
        simd.store_i64(head.zeroed + offset, 0)


@part
def clear_sums(head: Head) -> None:
    """Counters and loss of a batch."""
    for k in range(66):
        simd.store_i64(head.counters + 8 * k, 0)
    simd.store_f64(head.loss_sum, 0.0)
    for k in range(3 * (head.hidden + 2)):
        simd.store_f64(head.own_counts + 8 * k, 0.0)
    if head.by_error != 0:
        for c in range(head.kpad):
            simd.store_f64(head.seen + 8 * c, 0.0)


@jit
def run_range(
    one: float,
    heads: Sequence[Head],
    layers: Layers,
    first: int,
    last: int,
    task: int,
    start: int,
    steps: int,
) -> None:
    """The groups first ≤ group < last, block after block, in whole sequences (task 0).

    Or one part of that for all of them at once: clear the states, run a chunk forward, learn from it.
    One entry point: machine code of several would be compiled several times over.
    """
    head = heads[0]
    if task != FORWARD and task != LEARN_FROM:
        clear_sums(head)
    if task == CLEAR:
        clear(head)
        return
    begin = first
    chunks, whole = (steps + head.chunk - 1) // head.chunk, head.backwards != 0
    while begin < last:
        groups = last - begin if last - begin < head.slots else head.slots
        if task == WHOLE:
            clear(head)
        for turn in range(2 * chunks):  # forward and learning take turns, or all of the one comes first
            learning = turn >= chunks if whole else turn % 2 == 1
            k = turn // 2
            if whole:
                k = turn if turn < chunks else 2 * chunks - 1 - turn
                turn_to(head, layers, k)
            now = start + k * head.chunk
            left = start + steps - now
            length = left if left < head.chunk else head.chunk
            if not learning and task != LEARN_FROM:
                forward_block(one, head, layers, begin, groups, now, length)
            if learning and (task == LEARN_FROM or (task == WHOLE and head.learn != 0)):
                learn_block(one, head, layers, begin, groups, now, length)
        begin += groups
