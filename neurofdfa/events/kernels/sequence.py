"""The loop over blocks of samples and chunks of time: the one entry point."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import jit, part
from neurofdfa.events.fields import (
    BY_ERROR,
    CHUNK,
    FEEDBACK,
    FIRED,
    FIRED_PITCH,
    FLAGS,
    IMAGE,
    INPUT_KIND,
    KPAD,
    LEARN,
    LOSS_SUM,
    PANELS,
    PROBED,
    SAMPLES,
    SEEN,
    SLOTS,
    STEPS,
    TELLS,
    TOP,
    WHOLE_TRACE,
    ZEROED,
    ZEROED_BYTES,
)  # fmt: skip
from neurofdfa.events.kernels.convolution import forward_image, learn_image
from neurofdfa.events.kernels.forward import forward_layer
from neurofdfa.events.kernels.layout import group_samples
from neurofdfa.events.kernels.learning import filter_errors, learn_layer, learn_readout
from neurofdfa.events.kernels.readout import forward_readout, read_out, tell_deltas, tell_targets
from neurofdfa.events.kernels.spikes import read_input
from neurofdfa.events.kernels.tangents import tangents
from neurofdfa.events.kernels.traces import keep_traces

WHOLE, CLEAR, FORWARD, LEARN_FROM = range(4)


@part
def forward_block(one, head, table, floats, consts, fired, begin, groups, start, steps):
    """One chunk of a block of groups, up to errors and tangents."""
    top = head[TOP]
    if head[INPUT_KIND] != 3:
        for slot in range(groups):
            read_input(one, head, table, begin + slot, slot, start, steps)
    probing = head[PROBED] > begin * head[SAMPLES]
    if probing:  # the tangents need the spikes that the chunk began with
        for layer in range(1, top + 1):
            panels = table[layer, PANELS]
            for place in range(groups * head[SAMPLES]):
                for panel in range(panels):
                    word = simd.load_i64(table[layer, FIRED] + (place * panels + panel) * 8)
                    slot = place // head[SAMPLES]
                    s = place - slot * head[SAMPLES]
                    offset = (slot * top + layer - 1) * head[SAMPLES] * head[FIRED_PITCH]
                    simd.store_i64(fired + offset + (s * panels + panel) * 8, word)
    for layer in range(1, top + 1):
        if table[layer, IMAGE] != 0:
            forward_image(one, head, table, floats, layer, begin, groups, start, steps)
        else:
            forward_layer(one, head, table, floats, layer, begin, groups, start, steps)
    for slot in range(groups):
        forward_readout(one, head, table, floats, consts, slot, begin + slot, start, steps)
        read_out(one, head, consts, slot, begin + slot, start, steps)
        if head[TELLS] == 1:
            tell_targets(one, head, consts, slot, begin + slot, start, steps)
        elif head[TELLS] == 2:
            tell_deltas(one, head, table, slot, group_samples(head, begin + slot) * steps)
        if probing:
            words = fired + slot * top * head[SAMPLES] * head[FIRED_PITCH]
            tangents(one, head, table, floats, consts, slot, begin + slot, start, steps, words)


@part
def learn_block(one, head, table, floats, consts, begin, groups, start, steps):
    """Gradients of one chunk of a block of groups."""
    for k in range(head[TOP]):
        layer = head[TOP] - k
        if head[WHOLE_TRACE] != 0:
            for slot in range(groups):
                filter_errors(one, head, floats, consts, layer, slot, begin + slot, steps)
        if table[layer, FEEDBACK] != 0 and table[layer, IMAGE] != 0:
            learn_image(one, head, table, floats, layer, begin, groups, start, steps)
        elif table[layer, FEEDBACK] != 0:
            learn_layer(one, head, table, floats, consts, layer, begin, groups, start, steps)
    for slot in range(groups):
        learn_readout(one, head, table, floats, consts, slot, begin + slot, start, steps)
        if start + steps < head[STEPS]:
            keep_traces(one, head, table, floats, slot, begin + slot, start, steps)


@part
def clear(head):
    """States at the start of a sequence."""
    for offset in range(0, head[ZEROED_BYTES], 8):
        simd.store_i64(head[ZEROED] + offset, 0)


@part
def clear_sums(head):
    """Counters and loss of a batch."""
    for k in range(66):
        simd.store_i64(head[FLAGS] + 8 * k, 0)
    simd.store_f64(head[LOSS_SUM], 0.0)
    if head[BY_ERROR] != 0:
        for c in range(head[KPAD]):
            simd.store_f64(head[SEEN] + 8 * c, 0.0)


@jit
def run_range(one, head, table, floats, consts, fired, first, last, task, start, steps):
    """The groups first ≤ group < last, block after block, in whole sequences (task 0).

    Or one part of that for all of them at once: clear the states, run a chunk forward, learn from it.
    One entry point: machine code of several would be compiled several times over.
    """
    if task != FORWARD and task != LEARN_FROM:
        clear_sums(head)
    if task == CLEAR:
        clear(head)
        return
    begin = first
    while begin < last:
        groups = last - begin if last - begin < head[SLOTS] else head[SLOTS]
        if task == WHOLE:
            clear(head)
        now = start
        while now < start + steps:
            left = start + steps - now
            length = left if left < head[CHUNK] else head[CHUNK]
            if task != LEARN_FROM:
                forward_block(one, head, table, floats, consts, fired, begin, groups, now, length)
            if task == LEARN_FROM or (task == WHOLE and head[LEARN] != 0):
                learn_block(one, head, table, floats, consts, begin, groups, now, length)
            now += length
        begin += groups
