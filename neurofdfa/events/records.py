"""The records through which Python tells the kernels where everything is and how large.

A kernel that takes addresses in place of arrays is compiled once for every network, whatever its depth.
Python writes the records as C structures, and kernels read the same memory as numba's records.
Addresses are in bytes, sizes in elements unless said otherwise.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

R = TypeVar("R", bound=ctypes.Structure)


def record(kind: type[R]) -> type[R]:
    """Make a C structure of the annotations of a class: 64 bits for every number."""
    kinds = {int: ctypes.c_int64, float: ctypes.c_double}
    kind._fields_ = [(name, kinds[type_]) for name, type_ in kind.__annotations__.items()]
    return kind


@record
class Layer(ctypes.Structure):
    """A layer; number 0 is the input, 1 to H are the hidden layers, H + 1 is the readout."""

    index: int
    n: int  # neurons
    width: int  # neurons, padded to whole vectors
    panels: int  # panels of 64, then of 16
    wide: int  # how many of them have 64
    weight: int  # W [n_in, width]
    gradient: int  # Σ gradient, like W
    recurrent: int  # V [N, width] or 0
    recurrent_gradient: int
    bias: int  # [width] or 0
    bias_gradient: int
    feedback: int  # Bᵀ [k, width] or 0: no signal for this layer
    feedback_gradient: int  # [N, kpad] Σ spikes ⊗ errors, or [k, width] Σ Ĵ of probes, or 0
    spikes: int  # words [slot, panel, row]
    psi: int  # [slot, panel, row, lane]
    membranes: int  # as psi: u, where `general`
    state: int  # [slot, sample, panel, (i, u, a), lane]
    fired: int  # words [slot, sample, panel]: spikes of the chunk before
    lists: int  # bytes [slot, width · CAPACITY]: rows of the transmitted spikes, neuron after neuron
    tally: int  # int32 [slot, TALLY_ROOM + 2 · width]: which neuron has how many of them, see `kernels.lists`
    events: int  # int32 [slot, CAPACITY · width + 64]: the same spikes row after row, by neuron
    starts: int  # int32 [slot, CAPACITY + 1]: where each row's begin
    own_lists: int  # as lists, of what recurrent synapses hear, the last step of the chunk left out
    own_tally: int
    traces: int  # [slot, sample, 3, width of the layer below]: stages κ, β, α of its transmitted spikes
    own_traces: int  # [slot, sample, 4, width]: the same of its own, and the last spike
    plain_traces: int  # [slot, sample, width]: κ-filtered transmitted spikes, for the readout and `outer`
    error_states: int  # [slot, sample, (κ, β, α), kpad]: filters of the errors, where the next chunk begins
    reverse_states: int  # [slot, sample, panel, (E, A, P), lane]: the same of the layer's own
    links: int  # [slot, width]: factor of ε from the last step of a chunk into the next one
    membrane_traces: int  # [slot, like weight]: ε of every synapse, where it is carried
    filtered_traces: int  # ē
    own_membrane_traces: int  # of recurrent synapses
    own_filtered_traces: int
    bias_traces: int  # [slot, panel, (ε, ē), lane]
    keep: int  # words [sample, panel]: which neurons transmit, or 0
    keep_pitch: int  # bytes from sample to sample
    gain: int  # [sample, width]: dropout scaling
    gain_pitch: int  # bytes from sample to sample, 0 without dropout
    kind: int  # surrogate
    extra: int  # [step, width] added to the learning signal (rate target)
    extra_pitch: int  # bytes
    step_counts: int  # int32 [step, width] spikes over the batch, or 0
    probe: int  # [row, width]: v
    given: int  # [T, probed, N] probes handed in, or 0
    tangent_state: int  # [slot, sample, panel, (i, u, reset, a), lane]
    tangent_sent: int  # [slot, sample, width]
    noise_state: int  # [slot, sample, stage, width]
    stages: int  # stages of the noise trace
    record: int  # bytes [T, B, N] spikes to hand out, or 0
    membrane: int  # [T, B, N] membranes to hand out, or 0
    ones_row: int  # [width] ones, the gain without dropout
    alphas: int  # [width]
    betas: int
    general: int  # 1: decays differ, thresholds adapt, or hard resets are differentiated: u is kept
    image: int  # 1: a convolution, which what is below with the word view belongs to
    alpha: float
    beta: float
    kept: float  # factor of a membrane that spiked: 0 hard, β soft
    lost: float  # and what is taken off it: 0 hard, θ soft
    theta: float
    inverse_width: float
    height: float
    scale: float  # of transmitted spikes: 1/(1 − dropout)
    trace_kappa: float  # κ where the trace is filtered, else 0
    hard: float  # factor of a tangent through a spike: 0 hard, 1 soft
    reset: float  # −∂u/∂s⁻ of a soft reset that is differentiated: θ, else 0
    through: float  # 1: of a hard one, βu⁻
    adaptation: float  # b
    rho: float
    places: int  # int32 [neurons below, 2]: the view's neuron, and its position; −1 for what fills up a panel
    view_n: int  # neurons of the view: the image below, behind its pool, position after position
    positions: int
    view_rows: int
    view_columns: int
    view_channels: int
    tiles: int  # tiles in a row of tiles
    blocks: int  # panels of a tile
    down: int  # rows of the view from tile to tile
    right: int  # columns
    padding: int
    window_rows: int  # of the view, that one tile hears
    window_columns: int
    seen_events: int  # int32 [slot, …]: spikes row after row, position after position, by neuron of the view
    seen_starts: int  # int32 [slot, row, positions + 2]: where each position's begin
    seen_lists: int  # bytes [slot, …]: rows of the spikes, neuron after neuron
    seen_begins: int  # int32 [slot, view_n + 2]: where each neuron's begin
    seen_values: int  # scratch [row, view_n]
    listed: int  # spikes that a slot has room for


Layers: TypeAlias = Sequence[Layer]


@record
class Head(ctypes.Structure):
    """What is said once for all layers of a thread."""

    hidden: int  # H
    steps: int  # T
    chunk: int  # K
    batch: int
    samples: int  # samples in a group
    slots: int  # groups in a block
    input: int  # x[t, b, channel]
    input_step: int  # bytes from step to step
    input_sample: int  # bytes from sample to sample; of lists, in input_starts
    input_kind: int  # 0: bytes, 1: float32, 2: float64, 3: dense values in the precision of the kernel,
    # 4: int32 channels, row after row
    outputs: int  # k
    kpad: int
    target: int
    target_kind: int  # 0: labels int64 [B], 1: values [B, k], 2: values [T, B, k]
    loss: int  # 0: cross-entropy, 1: squared error, 2: spike count
    loss_from: int  # the first step that the loss counts at
    scores_from: int  # the first step whose outputs are part of the scores
    learn: int
    outer: int  # 1: feedback learns from κ-filtered transmitted spikes ⊗ errors, as the readout does
    probed: int  # samples that carry tangents
    observe_output: int  # 1: "output" noise kernel, 0: "innovation"
    tangent_recurrent: int
    seed: int
    total: int  # samples of the batch that this one is a share of
    first: int  # place of the first sample there, and how far to the next
    every: int
    panel: int  # scratch [row, 64]
    recurrent_drive: int  # scratch [panel, row, lane]
    errors: int  # [slot, row, kpad]
    output: int  # scratch [row, kpad]
    output_state: int  # [slot, sample, kpad]
    filtered: int  # scratch [row, kpad]: κ-filtered errors
    carry: int  # scratch [sample, 4, 64]
    tangent_a: int  # scratch [row, width]
    tangent_b: int
    noise: int
    observed: int  # scratch [row, kpad]
    weighted: int
    tangent_output_state: int  # [slot, sample, kpad]
    scores: int  # [B, kpad]: Σ y or the last y
    mean_score: int
    record_y: int  # [T, B, k] or 0
    counters: int  # [0]: an input was neither 0 nor 1; [1 + l]: spikes; [33 + l]: ψ = 0; [65]: input events
    loss_sum: int  # float64
    responses: int  # float64 [H + 2, 3, CAPACITY]: responses of the trace stages κ, β, α to a pulse; row 0: κ
    transitions: int  # float64 [H + 2, 3, 3]: start of a chunk → its end
    ones: int  # float64 [H + 2, chunks, 3]: stages of the trace of a constant 1 at each chunk's start
    probe_weights: int  # float64 [H, T]
    noise_decays: int  # float64 [H, 16]
    zeroed: int  # states that a sequence starts at zero
    zeroed_bytes: int
    chunks: int  # room for so many chunks in ones
    zeros: int  # a row of a panel
    input_starts: int  # int64 [B, …]: where each row's events begin in input, for lists
    by_error: int  # 1: estimates of the feedback count by the error of their output
    relevance: int  # float64 [kpad]: weight of an estimate per squared error, negative: 1 whatever the error
    seen: int  # float64 [kpad]: Σ of the squared errors of the probed samples
    exact: int  # 1: a trace per synapse
    backwards: int  # 1: and the chunks of a sequence are learnt from last to first; 0: it is carried
    kept_pitch: int  # bytes from chunk to chunk of what is kept of a sequence until it is learnt
    turned: int  # the chunk that the addresses of what is kept point at
    error_kappa: float  # κ, where the trace is filtered by it, else 0
    coefficients: int  # scratch [11, 64]: see `kernels.eligibility`
    ends: int  # scratch [row, 64]: what a spike leaves behind at the end of the chunk, in ε
    filtered_ends: int  # and in ē
    readout_states: int  # [slot, sample, kpad]: κ-filtered errors where the next chunk begins
    downstream: int  # 1: which the decays of the layers above filter, too
    filtered_errors: int  # [slot, row, kpad]: errors as they reach a layer's spikes
    fired_pitch: int  # bytes of a sample's words in what fired was before the chunk
    heard: int  # [slot, row, kpad]: what hidden layers are told, errors unless tells says otherwise
    tells: int  # 0: errors, 1: targets, 2: errors times ψ of a spiking readout
    top: int  # rows of spiking neurons: H, or H + 1 with a spiking readout
    fired: int  # words that fired was before the chunk
    kappa: float  # κ of the readout
    correct: float  # targets of spike counts
    wrong: float
    share: float  # weight of one step's loss
    lengths: int  # int64 [B, 3] or 0: a sample's own steps, and where its loss and its scores begin
    pull: int  # scratch [row, 64]: of the rate target on a sample that has a length of its own, or 0
    own_counts: int  # float64 [3, H + 2]: Σ over such samples of spikes and ψ = 0 per own step; scratch


@record
class Update(ctypes.Structure):
    """A tensor that learns."""

    follows: int  # 1: B ← a B + c G, 0: Adam
    parameter: int  # the tensor itself
    panel_copy: int  # the same in panels
    panel_gradient: int
    first_moment: int  # like the tensor
    second_moment: int
    rows: int
    columns: int
    wide_panels: int
    rise: float  # of Adam (Kingma & Ba 2015, algorithm 1): 1 − β₁
    beta2: float
    step: float  # lr/(1 − β₁ᵗ)
    root: float  # 1/√(1 − β₂ᵗ)
    epsilon: float
    decay: float  # of the weights
    kept: float  # a
    taken: float  # c


def memory_of(records: Any, kind: type[ctypes.Structure]) -> Any:
    """A C array of records as the array that kernels take."""
    return np.frombuffer(records, np.dtype(kind))


INPUT_EVENTS = 65
"""Place in `Head.counters`."""
CAPACITY = 128
"""Rows (samples × steps) that a group may hold: a row number fits one byte, a panel fits the L1 cache."""
TALLY_ROOM = 3 * 144
"""Numbers in a tally before those per neuron: three for every count from 0 to CAPACITY."""
