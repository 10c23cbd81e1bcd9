"""Columns of the integer and float tables through which Python tells the kernels where everything is.

A kernel that takes a table instead of arrays is compiled once for every network, whatever its depth.
Addresses are in bytes, sizes in elements unless said otherwise.
"""

# one row per layer; row 0 is the input, rows 1..H the hidden layers, row H+1 the readout
(
    N,  # neurons
    WIDTH,  # neurons, padded to whole vectors
    PANELS,  # panels of 64, then of 16
    WIDE,  # how many of them have 64
    WEIGHT,  # W [n_in, WIDTH]
    GRADIENT,  # Σ gradient, like W
    RECURRENT,  # V [N, WIDTH] or 0
    RECURRENT_GRADIENT,
    BIAS,  # [WIDTH] or 0
    BIAS_GRADIENT,
    FEEDBACK,  # Bᵀ [k, WIDTH] or 0: no signal for this layer
    FEEDBACK_GRADIENT,  # [N, KPAD] of DKP, [k, WIDTH] Σ Ĵ of FDFA, or 0
    SPIKES,  # words [slot, panel, row]
    PSI,  # [slot, panel, row, lane]
    STATE,  # [slot, sample, panel, (i, u), lane]
    FIRED,  # words [slot, sample, panel]: spikes of the chunk before
    LISTS,  # bytes [slot, WIDTH · CAPACITY]: rows of the transmitted spikes, neuron after neuron
    TALLY,  # int32 [slot, TALLY_ROOM + 2 · WIDTH]: which neuron has how many of them, see `kernels.lists`
    EVENTS,  # int32 [slot, CAPACITY · WIDTH + 64]: the same spikes row after row, by neuron
    STARTS,  # int32 [slot, CAPACITY + 1]: where each row's begin
    OWN_LISTS,  # as LISTS, of what recurrent synapses hear, the last step of the chunk left out
    OWN_TALLY,
    TRACES,  # [slot, sample, 3, WIDTH of the layer below]: stages κ, β, α of its transmitted spikes
    OWN_TRACES,  # [slot, sample, 4, WIDTH]: the same of its own, and the last spike
    PLAIN_TRACES,  # [slot, sample, WIDTH]: κ-filtered transmitted spikes, for readout and DKP
    KEEP,  # words [sample, panel]: which neurons transmit, or 0
    KEEP_PITCH,  # bytes from sample to sample
    GAIN,  # [sample, WIDTH]: dropout scaling
    GAIN_PITCH,  # bytes from sample to sample, 0 without dropout
    KIND,  # surrogate
    EXTRA,  # [step, WIDTH] added to the learning signal (rate target)
    EXTRA_PITCH,  # bytes
    STEP_COUNTS,  # int32 [step, WIDTH] spikes over the batch, or 0
    PROBE,  # [row, WIDTH]: v
    GIVEN,  # [T, probed, N] probes handed in, or 0
    TANGENT_STATE,  # [slot, sample, panel, (i, u), lane]
    TANGENT_SENT,  # [slot, sample, WIDTH]
    NOISE_STATE,  # [slot, sample, stage, WIDTH]
    STAGES,  # stages of the noise trace
    RECORD,  # bytes [T, B, N] spikes to hand out, or 0
    MEMBRANE,  # [T, B, N] membranes to hand out, or 0
    ONES_ROW,  # [WIDTH] ones, the GAIN without dropout
    IMAGE,  # of a convolution: int64 [IMAGE_FIELDS], else 0
) = range(43)
LAYER_FIELDS = 43

# the same rows, floats
(
    ALPHA,
    BETA,
    KEPT,  # factor of a membrane that spiked: 0 hard, β soft
    LOST,  # and what is taken off it: 0 hard, θ soft
    THETA,
    INVERSE_WIDTH,
    HEIGHT,
    SCALE,  # of transmitted spikes: 1/(1 − dropout)
    TRACE_KAPPA,  # κ where the trace is filtered, else 0
    HARD,  # factor of a tangent through a spike: 0 hard, 1 soft
) = range(10)
FLOAT_FIELDS = 10

# one row for all
(
    LAYERS,  # H
    STEPS,  # T
    CHUNK,  # K
    BATCH,
    SAMPLES,  # samples in a group
    SLOTS,  # groups in a block
    INPUT,  # x[t, b, channel]
    INPUT_STEP,  # bytes from step to step
    INPUT_SAMPLE,  # bytes from sample to sample
    INPUT_KIND,  # 0: bytes, 1: float32, 2: float64, 3: dense values in the precision of the kernel,
    # 4: int32 channels, row after row
    OUTPUTS,  # k
    KPAD,
    TARGET,
    TARGET_KIND,  # 0: labels int64 [B], 1: values [B, k], 2: values [T, B, k]
    LOSS,  # 0: cross-entropy, 1: squared error, 2: spike count
    LOSS_FROM,  # the first step that the loss counts at
    SCORES_FROM,  # the first step whose outputs are part of the scores
    LEARN,
    DKP,
    PROBED,  # samples that carry tangents
    OBSERVE_OUTPUT,  # 1: "output" noise kernel, 0: "innovation"
    TANGENT_RECURRENT,
    SEED,
    TOTAL,  # samples of the batch that this one is a share of
    FIRST,  # place of the first sample there, and how far to the next
    EVERY,
    PANEL,  # scratch [row, 64]
    RECURRENT_DRIVE,  # scratch [panel, row, lane]
    ERRORS,  # [slot, row, KPAD]
    OUTPUT,  # scratch [row, KPAD]
    OUTPUT_STATE,  # [slot, sample, KPAD]
    FILTERED,  # scratch [row, KPAD]: κ-filtered errors
    CARRY,  # scratch [sample, 4, 64]
    TANGENT_A,  # scratch [row, WIDTH]
    TANGENT_B,
    NOISE,
    OBSERVED,  # scratch [row, KPAD]
    WEIGHTED,
    TANGENT_OUTPUT_STATE,  # [slot, sample, KPAD]
    SCORES,  # [B, KPAD]: Σ y or the last y
    MEAN_SCORE,
    RECORD_Y,  # [T, B, k] or 0
    FLAGS,  # [0]: an input was neither 0 nor 1; [1 + l]: spikes; [33 + l]: ψ = 0; [65]: input events
    LOSS_SUM,  # float64
    RESPONSES,  # float64 [H + 2, 3, CAPACITY]: impulse responses of the trace stages κ, β, α; row 0: κ alone
    TRANSITIONS,  # float64 [H + 2, 3, 3]: start of a chunk → its end
    ONES,  # float64 [H + 2, CHUNKS, 3]: stages of the trace of a constant 1 at each chunk's start
    PROBE_WEIGHTS,  # float64 [H, T]
    NOISE_DECAYS,  # float64 [H, 16]
    ZEROED,  # states that a sequence starts at zero
    ZEROED_BYTES,
    CHUNKS,  # room for so many chunks in ONES
    ZEROS,  # a row of a panel
    INPUT_STARTS,  # int64 [B, T + 1]: where each row's events begin in INPUT, for lists
    BY_ERROR,  # 1: estimates of the feedback count by the error of their output
    RELEVANCE,  # float64 [KPAD]: weight of an estimate per squared error, negative: 1 whatever the error
    SEEN,  # float64 [KPAD]: Σ of the squared errors of the probed samples
    WHOLE_TRACE,  # 1: a trace per synapse; needs the whole sequence in one chunk
    DOWNSTREAM,  # 1: which the decays of the layers above filter, too
    FILTERED_ERRORS,  # [slot, row, KPAD]: errors as they reach a layer's spikes
    FIRED_PITCH,  # bytes of a sample's words in what FIRED was before the chunk
    HEARD,  # [slot, row, KPAD]: what hidden layers are told, ERRORS unless TELLS says otherwise
    TELLS,  # 0: errors, 1: targets, 2: errors times ψ of a spiking readout
    TOP,  # rows of spiking neurons: H, or H + 1 with a spiking readout
) = range(64)
GLOBAL_FIELDS = 64
INPUT_EVENTS = 65
"""Place in FLAGS."""

# one record per convolution, see `kernels.convolution`
(
    PLACES,  # int32 [neurons below, 2]: the view's neuron, and its position; −1 for what fills up a panel
    VIEW,  # neurons of the view: the image below, behind its pool, position after position
    POSITIONS,
    VIEW_ROWS,
    VIEW_COLUMNS,
    VIEW_CHANNELS,
    TILES,  # tiles in a row of tiles
    BLOCKS,  # panels of a tile
    DOWN,  # rows of the view from tile to tile
    RIGHT,  # columns
    PADDING,
    WINDOW_ROWS,  # of the view, that one tile hears
    WINDOW_COLUMNS,
    SEEN_EVENTS,  # int32 [slot, …]: spikes row after row, position after position, by neuron of the view
    SEEN_STARTS,  # int32 [slot, row, POSITIONS + 2]: where each position's begin
    SEEN_LISTS,  # bytes [slot, …]: rows of the spikes, neuron after neuron
    SEEN_BEGINS,  # int32 [slot, VIEW + 2]: where each neuron's begin
    SEEN_VALUES,  # scratch [row, VIEW]
    LISTED,  # spikes that a slot has room for
) = range(19)
IMAGE_FIELDS = 19

# one row per tensor that learns
(
    FOLLOWS,  # 1: B ← a B + c G, 0: Adam
    PARAMETER,  # the tensor itself
    PANEL_COPY,  # the same in panels
    PANEL_GRADIENT,
    FIRST_MOMENT,  # like the tensor
    SECOND_MOMENT,
    ROWS,
    COLUMNS,
    WIDE_PANELS,
) = range(9)
UPDATE_FIELDS = 9

(KAPPA, CORRECT, WRONG, SHARE) = range(4)
"""Constants: κ of the readout, targets of spike counts, weight of one step's loss."""
CAPACITY = 128
"""Rows (samples × steps) that a group may hold: a row number fits one byte, a panel fits the L1 cache."""
TALLY_ROOM = 3 * 144
"""Numbers in a TALLY before those per neuron: three for every count from 0 to CAPACITY."""
