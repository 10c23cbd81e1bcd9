"""Everything that decides a run, in one typed document that is written beside its results as TOML."""

import difflib
from pathlib import Path
from typing import Any, Literal, cast

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from neurofdfa.errors import UserError
from neurofdfa.io import read_toml, write_text
from neurofdfa.nn.layer_spec import read_layer
from neurofdfa.nn.lif import DECAY_BITS
from neurofdfa.rules import DEFAULT

FORMAT = 2
"""Version of the run folder; others are refused."""


_EITHER = {"network.hidden": "layers", "network.layers": "hidden"}


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Table):
    """What is learnt: see `neurofdfa.data.load`. steps: T for static images, None for the data's own.
    density: share of the input spikes that reach the network, in training and in evaluation.
    order: "shuffled" takes from every sample the order of its steps, see `neurofdfa.data.order`.
    own: samples that the user handed over: "kept" in the run's folder (`neurofdfa.lab.kept_data`), or "given"
    again by the user whenever they are needed; `options` then says what they are.
    """

    name: str = "digits"
    root: str | None = None
    steps: int | None = Field(default=None, ge=1)
    encoder: Literal["direct", "poisson", "latency"] = "poisson"
    max_rate: float = Field(default=0.5, gt=0, le=1)
    gain: float = Field(default=1.0, gt=0)
    density: float = Field(default=1.0, gt=0, le=1)
    order: Literal["kept", "shuffled"] = "kept"
    own: Literal["kept", "given"] | None = None
    options: dict[str, Any] = Field(default_factory=dict[str, Any])


class NetworkConfig(_Table):
    """Layers and neurons; times in seconds. hidden: sizes of dense layers, the short form of layers, which
    takes convolutions, pools and delays too, see `neurofdfa.nn.layer_spec`, and goes before it; shape:
    channels, rows and columns of the input, None for those of the data.
    readout: "written" where `layers` names every module of the network, neurons and readout among them.
    own: why no file can describe a network that the user handed over, who hands it over again to go on.
    rate: share of neurons that fire at initialisation, 0 for weights as they are drawn. weight_bits: learn
    through a quantiser of so many bits, None for float weights.
    """

    hidden: tuple[int, ...] = (128, 128)
    layers: tuple[dict[str, Any], ...] | None = Field(default=None, min_length=1)
    shape: tuple[int, int, int] | None = None
    tau_mem: float = Field(default=5e-3, gt=0)
    tau_syn: float = Field(default=0.0, ge=0)
    tau_out: float | None = Field(default=None, gt=0)
    dt: float = Field(default=1e-3, gt=0)
    v_threshold: float = Field(default=1.0, gt=0)
    reset: Literal["hard", "soft"] = "hard"
    reset_gradient: Literal["detached", "attached"] = "detached"
    decay_bits: int | None = Field(default=DECAY_BITS, ge=1, le=24)
    adaptation: float = Field(default=0.0, ge=0)
    tau_adapt: float = Field(default=0.2, gt=0)
    tau_mem_spread: float = Field(default=0.0, ge=0, le=3)
    tau_syn_spread: float = Field(default=0.0, ge=0, le=3)
    learn_tau: bool = False
    surrogate: Literal["fast-sigmoid", "triangular", "arctan", "sigmoid"] = "fast-sigmoid"
    surrogate_width: float = Field(default=0.5, gt=0)
    surrogate_height: float = Field(default=1.0, gt=0)
    readout: Literal["integrator", "leaky", "spike-count", "written"] = "integrator"
    bias: bool = False
    recurrent: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    weight_bits: int | None = Field(default=None, ge=1, le=8)
    rate: float = Field(default=0.06, ge=0, lt=1)
    own: str | None = None

    @field_validator("hidden", mode="before")
    @classmethod
    def _sizes(cls, value: Any) -> Any:
        sizes = list(cast(list[Any], value)) if isinstance(value, list | tuple) else []
        if not sizes or any(isinstance(n, bool) or not isinstance(n, int) for n in sizes):
            raise ValueError(
                "write numbers of neurons, e.g. [128, 64]; convolutions and pools go into layers, e.g. "
                "[{ conv2d = { out_channels = 8, kernel_size = 3 } }, { sumpool2d = 2 }, { linear = 64 }]"
            )
        for n in sizes:
            if n < 1:
                raise ValueError(f"a layer has 1 neuron or more, got {n}")
        return tuple(sizes)

    @field_validator("decay_bits", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("layers", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        entries = list(cast(list[Any], value))
        for place, entry in enumerate(entries, 1):
            try:
                read_layer(entry)
            except UserError as error:
                raise ValueError(f"entry {place}: {error}") from error
        return tuple({"linear": entry} if isinstance(entry, int) else entry for entry in entries)

    @model_validator(mode="before")
    @classmethod
    def _either(cls, value: Any) -> Any:
        if (
            isinstance(value, dict)
            and cast(dict[str, Any], value).get("layers") is not None
            and "hidden" in value
        ):
            raise ValueError("write hidden or layers, not both")
        return cast(Any, value)

    @model_serializer(mode="wrap")
    def _one_form(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = handler(self)
        if self.layers is not None:
            tree.pop("hidden", None)
        return tree

    @property
    def threshold(self) -> float | None:
        """The threshold that all neurons share, None where there is no such."""
        if self.own is not None:
            return None
        settings = [v for entry in self.layers or () for v in entry.values()]
        written = [cast(dict[str, Any], v) for v in settings if isinstance(v, dict)]
        own: set[float] = {table["v_threshold"] for table in written if "v_threshold" in table}
        return self.v_threshold if not own else own.pop() if len(own) == 1 else None

    @property
    def below_the_readout(self) -> tuple[int | dict[str, Any], ...]:
        """The hidden layers, in whichever form they are given."""
        return self.hidden if self.layers is None else self.layers


class RuleConfig(_Table):
    """Name of a learning rule (`neurofdfa.rules.RULES`) and its settings. own: it is a class of the user's
    own, or has settings that no file can hold, and is handed over again to go on.
    """

    name: str = DEFAULT.name
    own: bool = False
    options: dict[str, Any] = Field(default_factory=dict[str, Any])


class TrainingConfig(_Table):
    """How long and how fast. Learning rate: linear warm-up, then cosine decay to zero, or "constant".

    A finished run that goes on for more epochs takes the learning rate that a run of all its epochs would
    have at that batch; extended: after which epochs it had ended before.
    optimizer, loss: "own" where the user handed over one that a file cannot describe; optimizer_options,
    loss_options: their further settings.
    recurrent_lr: factor on the learning rate of recurrent synapses, which bear less than the others.
    update_every: steps between weight updates, None for once per sequence. rate_target,
    rate_strength, rate_memory: the local firing-rate regulariser. threads: of torch and of the event engine;
    their number changes the order of additions, and with it the last digits. start_from: a run folder whose
    weights to begin with, e.g. to fine-tune a float network on the grid of `network.weight_bits`.
    diverged: what follows on numbers that are not finite: "stop" ends the run with its reason, "skip" learns
    nothing from the batch and goes on, "halve" goes back to the end of the last epoch and on from there with
    half the learning rate, at most 8 times. The metrics say how often.
    """

    epochs: int = Field(default=20, ge=1)
    batch: int = Field(default=32, ge=1)
    extended: tuple[int, ...] = ()
    optimizer: Literal[
        "adam", "sgd", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam", "own"
    ] = "adam"
    optimizer_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    lr: float = Field(default=3e-3, gt=0)
    recurrent_lr: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=50, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    loss: Literal["cross-entropy", "mean-squared-error", "spike-count", "own"] = "cross-entropy"
    loss_when: Literal["every-step", "last"] | int | None = None
    loss_options: dict[str, float] = Field(default_factory=dict[str, float])
    update_every: int | None = Field(default=None, ge=1)
    rate_target: float = Field(default=0.05, gt=0, lt=1)
    rate_strength: float = Field(default=0.03, ge=0)
    rate_memory: float = Field(default=100.0, ge=1)
    alignment_samples: int = Field(default=0, ge=0)
    engine: Literal["auto", "events", "reference"] = "auto"
    threads: int = Field(default=1, ge=1)
    start_from: str | None = None
    diverged: Literal["stop", "skip", "halve"] = "stop"


class DeviceConfig(_Table):
    """What a device would do to the learning, see `neurofdfa.train.device`; the defaults impair nothing.

    stored_weight_bits: of weights that have no float copy; `network.weight_bits` keeps one.
    """

    feedback_bits: int | None = Field(default=None, ge=1, le=24)
    error_bits: int | None = Field(default=None, ge=2, le=24)
    error_range: float = Field(default=1.0, gt=0)
    delay: int = Field(default=0, ge=0)
    drop: float = Field(default=0.0, ge=0, le=1)
    trace_bits: int | None = Field(default=None, ge=1, le=24)
    stored_weight_bits: int | None = Field(default=None, ge=2, le=24)
    weight_range: float = Field(default=8.0, gt=0)
    rounding: Literal["nearest", "stochastic"] = "nearest"


class RunConfig(_Table):
    """A whole run: with its seed it is exactly repeatable."""

    format: int = FORMAT
    seed: int = Field(default=0, ge=0, lt=1 << 62)
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    rule: RuleConfig = RuleConfig()
    training: TrainingConfig = TrainingConfig()
    device: DeviceConfig = DeviceConfig()

    @field_validator("format")
    @classmethod
    def _known(cls, value: int) -> int:
        if value > FORMAT:
            raise ValueError(
                f"written by a newer neurofdfa (format {value}, this one reads {FORMAT}): upgrade"
            )
        if value < FORMAT:
            raise ValueError(
                f"written by an older neurofdfa (format {value}, this one reads {FORMAT}), which named its "
                "weights otherwise: delete the line 'format', write convolutions as 'layers' and train again"
            )
        return value

    def save(self, path: Path) -> None:
        """Write as TOML, whole or not at all."""
        tree = self.model_dump(exclude_none=True)
        tree["network"].setdefault("decay_bits", "none")  # whose default is a number
        write_text(path, tomli_w.dumps(tree))

    def with_settings(self, settings: dict[str, Any]) -> "RunConfig":
        """A copy with dotted settings replaced, e.g. {"training.lr": 1e-3, "rule.name": "dfa"}.

        The value "none" is None, which TOML cannot write.
        """
        tree = self.model_dump()
        for dotted, value in settings.items():
            *tables, key = dotted.split(".")
            table: dict[str, Any] = tree
            for name in tables:
                below: Any = table.setdefault(name, {})
                if not isinstance(below, dict):
                    raise UserError(f"config: {dotted}: `{name}` is a setting and no table of settings")
                table = cast(dict[str, Any], below)
            table[key] = None if value == "none" else value
            if dotted in _EITHER and value is not None:
                table.pop(_EITHER[dotted], None)
        return config_from(tree)


def config_from(tree: dict[str, Any], source: str = "config") -> RunConfig:
    """Validate a tree of settings; raises `UserError` with one line that names the offending one."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(f"{source}: no setting '{where}': {_nearest(first['loc'])}") from error
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {where}: {message} (got {_shown(first.get('input'))})") from error


def _nearest(loc: tuple[int | str, ...]) -> str:
    """What a misspelt setting may have meant, else what there is beside it."""
    *tables, last = map(str, loc)
    table: Any = RunConfig
    for name in tables:
        table = table.model_fields[name].annotation if name in getattr(table, "model_fields", {}) else None
    if not hasattr(table, "model_fields"):
        return "leave it out, or see `neurofdfa.nn.layer_spec` for what a layer takes"
    known = [".".join((*tables, name)) for name in table.model_fields]
    near = difflib.get_close_matches(".".join((*tables, last)), known, n=2, cutoff=0.7)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"


def _shown(value: object) -> str:
    """A value that does not fit, cut short where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}…"


def load_config(path: Path) -> RunConfig:
    """Read a config; raises `UserError` when the file is missing or is not one."""
    return config_from(read_toml(path), str(path))
