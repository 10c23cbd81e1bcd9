"""A certificate of locality, from values and not from claims.

One training sequence is recorded and trained on again with one source replaced by noise at a time: another
layer's weights, its spikes and membranes, what the rule remembers of it, the error, the target. A layer reads
a source if any bit of its update moves. Local means: what moves it is its own, or broadcast to all.

    in space:  own weights, input spikes, state and memory; error, target, outputs, outputs' tangents
    in time:   later inputs move nothing that was learnt before them; no autograd graph; memory that the
               length of the sequence does not change
    samples:   the update of a batch is a sum over its samples (mixed second difference of zero)
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.measure.locality.document import Certificate, LayerReads, NotLocal, Violation, code_hash
from neurofdfa.measure.locality.graph import watched_autograd
from neurofdfa.measure.locality.noise import Change, layer_names
from neurofdfa.measure.locality.replay import Make, Outcome, Tape, train_once
from neurofdfa.measure.memory import peak_mib
from neurofdfa.nn.inputs import as_numbers
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network
from neurofdfa.rules import rule_named
from neurofdfa.rules.base import Rule
from neurofdfa.train.learning import optimizer_like
from neurofdfa.train.trainer import Trainer

BROADCAST = ("error", "target", "outputs", "output tangents")
ADDITIVE = 1e-7
"""Largest mixed second difference that counts as rounding, relative to the updates."""
GROWTH = 1.02
"""Largest ratio of peak memory, for three times the steps, that counts as constant."""
ATTEMPTS = 3
"""Memory grows if it does so every time: one peak can look too low when older tensors are freed meanwhile."""


def certify(
    rule: Rule[Any] | str,
    network: Network,
    x: Tensor | None = None,
    target: Tensor | None = None,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    seed: int = 0,
) -> Certificate:
    """Audit a rule, or one of that name, on a network; neither is changed.

    x: `[T, B, n_in]` with at least 2 steps and 2 samples, target as for `Trainer.step`; random spikes and
    labels where none are given. optimizer: one whose kind and settings are taken. Raises `UserError` for
    inputs that cannot tell anything.

    >>> certify(MyRule(), feed_forward(6, [8, 8], 3)).require_local()
    """
    audited = rule_named(rule) if isinstance(rule, str) else rule

    def make(net: Network) -> Trainer:
        generator = torch.Generator().manual_seed(seed)
        own = None if optimizer is None else optimizer_like(optimizer, net.parameters())
        return Trainer(net, audited, own, loss=loss, generator=generator, engine="reference")

    if x is None or target is None:
        x, target = _random_task(network, seed)
    x, target = as_numbers("inputs", x), as_numbers("targets", target)
    return certify_learner(make, network, x, target)


def certify_learner(make: Make, network: Network, x: Tensor, target: Tensor) -> Certificate:
    """Audit what `make` builds around a network: any `Trainer` on the reference engine, settings and all.

    It is called many times, each time with a copy in double precision.
    """
    if x.dim() != 3 or x.shape[0] < 2 or x.shape[1] < 2:
        raise UserError(
            f"an audit needs inputs [time, batch, channels] with 2 steps and 2 samples or more, got "
            f"{tuple(x.shape)}"
        )
    kind = network.readout.synapse.weight.dtype
    double = _double(network)
    # a rule that keeps hold of x must see it change: no copy where none is needed
    x = x if x.dtype == torch.float64 else x.double()
    target = target.double() if target.is_floating_point() else target
    subject = make(_double(network))
    tape = Tape()
    with watched_autograd() as autograd:
        base = train_once(make, double, x, target, tape=tape)
    reads, violations = _space(make, double, x, target, tape, base)
    in_space = not violations
    timed = _time(make, double, x, target, autograd.backward, autograd.saved)
    coupled = _samples(make, double, x, target)
    rule = subject.rule
    return Certificate(
        rule=getattr(rule, "name", type(rule).__name__),
        settings=repr(rule),
        network=_shape(network),
        inputs=f"{x.shape[0]} steps, {x.shape[1]} samples, weights {kind} checked in float64",
        local_in_space=in_space,
        local_in_time=not timed,
        samples_independent=not coupled,
        layers=reads,
        violations=(*violations, *timed, *coupled),
        code=code_hash(subject),
    )


def sources(network: Network) -> tuple[str, ...]:
    """All that playback can replace."""
    names = layer_names(network)
    own = [f"{n}.{part}" for n in names for part in ("weights", "input", "state", "memory")]
    answers = [f"{n}.drive tangents" for n in names[1:]]
    return (*(s for s in own if s != "readout.memory"), *answers, *BROADCAST, "input")


def allowed(network: Network, layer: str) -> frozenset[str]:
    """What a layer may know: its own and the broadcast. Its own spikes are the next layer's input."""
    names = layer_names(network)
    own = {f"{layer}.{part}" for part in ("weights", "input", "state", "memory")}
    if layer != "readout":
        own.add(f"{names[names.index(layer) + 1]}.input")
    if layer == "layer1":
        own.add("input")
    return frozenset(own | set(BROADCAST))


def _space(
    make: Make, network: Network, x: Tensor, target: Tensor, tape: Tape, base: Outcome
) -> tuple[tuple[LayerReads, ...], list[Violation]]:
    def moved_by(replaced: Iterable[str]) -> dict[str, bool]:
        change = Change(frozenset(replaced))
        found = train_once(make, network, x, target, tape=tape, change=change)
        return {name: _moved(name, change, base, found) for name in base.handed}

    if any(moved_by(()).values()):
        raise UserError("the rule does not repeat itself from equal seeds: let it draw from its generator")
    felt = {source: moved_by((source,)) for source in sources(network)}
    reads: list[LayerReads] = []
    violations: list[Violation] = []
    for name in layer_names(network):
        may = allowed(network, name)
        read = tuple(source for source in felt if felt[source][name])
        foreign = [source for source in read if source not in may]
        violations += [Violation(name, source, _explained(source)) for source in foreign]
        if not foreign and moved_by(s for s in felt if s not in may)[name]:
            violations.append(Violation(name, "other layers", "moves when all other layers change at once"))
        learns = any(bool(t.any()) for t in base.handed[name])
        reads.append(LayerReads(name, learns, read))
    return tuple(reads), violations


def _moved(name: str, change: Change, base: Outcome, found: Outcome) -> bool:
    if not _equal(base.handed[name], found.handed[name]):
        return True
    replaced = {f"{name}.weights", f"{name}.memory"} & change.sources
    return not replaced and not _equal(base.after[name], found.after[name])


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def _explained(source: str) -> str:
    where, _, part = source.partition(".")
    parts = {
        "weights": f"the weights of {where}",
        "state": f"membranes, spikes or pseudo-derivatives of {where}",
        "input": f"the spikes that {where} receives",
        "drive tangents": f"what the drive of {where} answers to probes of the layer below it",
        "memory": f"what the rule remembers for {where} (feedback, traces, tangents)",
    }
    return parts.get(part, "the network's input, which only the first layer receives")


def _time(
    make: Make, network: Network, x: Tensor, target: Tensor, backward: int, saved: int
) -> list[Violation]:
    found: list[Violation] = []
    if backward:
        found.append(Violation("all", "backward", f"autograd's backward pass was run {backward} times"))
    if saved:
        found.append(Violation("all", "autograd graph", f"autograd kept {saved} tensors for a backward pass"))
    early = _first_early(make, network, x, target)
    if early is not None:
        found.append(Violation("all", "future", f"inputs after step {early} moved what was learnt by then"))
    peaks = [_peaks(make, network, x, target)]
    while peaks[-1][1] > peaks[-1][0] * GROWTH and len(peaks) < ATTEMPTS:
        peaks.append(_peaks(make, network, x, target))
    short, long = peaks[-1]
    if long > short * GROWTH:
        words = [round(mib * (1 << 17)) for mib in (short, long)]
        steps = x.shape[0]
        text = f"{words[0]} words at the peak of {steps} steps, {words[1]} of {3 * steps}"
        found.append(Violation("all", "stored past", f"memory grows with the sequence: {text}"))
    return found


def _first_early(make: Make, network: Network, x: Tensor, target: Tensor) -> int | None:
    """First step c such that inputs after c moved learning up to c; x changes in place and is restored."""
    before = train_once(make, network, x, target).history
    kept, kept_target = x.clone(), target.clone()
    generator = torch.Generator().manual_seed(5)
    try:
        for cut in range(x.shape[0] - 1):
            later = x[cut + 1 :]
            x[cut + 1 :] = torch.rand(later.shape, generator=generator, dtype=x.dtype).round() + 0.5
            if target.dim() == 3:
                target[cut + 1 :] += 1.0
            after = train_once(make, network, x, target).history
            x.copy_(kept)
            target.copy_(kept_target)
            if any(not _equal(a, b) for a, b in zip(before[: cut + 2], after[: cut + 2], strict=True)):
                return cut
    finally:
        x.copy_(kept)
        target.copy_(kept_target)
    return None


def _peaks(make: Make, network: Network, x: Tensor, target: Tensor) -> tuple[float, float]:
    """Peak memory of the sequence and of one three times as long."""
    return _peak(make, network, x, target, 1), _peak(make, network, x, target, 3)


def _peak(make: Make, network: Network, x: Tensor, target: Tensor, times: int) -> float:
    learner = make(_double(network))
    x = x.repeat(times, 1, 1)
    target = target.repeat(times, 1, 1) if target.dim() == 3 else target
    learner.step(x, target)  # optimizers make their state at the first update
    return peak_mib(lambda: learner.step(x, target))


def _samples(make: Make, network: Network, x: Tensor, target: Tensor) -> list[Violation]:
    """g(a, b) − g(a′, b) − g(a, b′) + g(a′, b′) = 0 where an update is a sum over samples."""
    batch = x.shape[1]
    halves = tuple(range(batch // 2)), tuple(range(batch // 2, batch))
    tape = Tape()
    train_once(make, network, x, target, tape=tape, regulated=False)
    replaced = frozenset(s for s in sources(network) if not s.endswith((".weights", ".memory")))

    def handed(samples: tuple[int, ...]) -> dict[str, list[Tensor]]:
        change = Change(replaced, samples)
        return train_once(make, network, x, target, tape=tape, change=change, regulated=False).handed

    runs = [handed(samples) for samples in ((), halves[0], halves[1], (*halves[0], *halves[1]))]
    violations: list[Violation] = []
    for name in layer_names(network):
        for a, b, c, d in zip(*(run[name] for run in runs), strict=True):
            scale = max(float(g.abs().max()) for g in (a, b, c, d))
            if float((a - b - c + d).abs().max()) > ADDITIVE * scale:
                text = "the update is not a sum over samples: batch statistics couple them"
                violations.append(Violation(name, "other samples", text))
                break
    return violations


def _random_task(network: Network, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed + 11)
    x = (torch.rand(6, 4, network.n_in, generator=generator) < 0.5).double()
    return x, torch.randint(0, network.n_out, (4,), generator=generator)


def _double(network: Network) -> Network:
    return copy.deepcopy(network).double()


def _shape(network: Network) -> str:
    widths = [network.n_in, *(layer.n for layer in network.hidden), network.n_out]
    recurrent = ", recurrent" if any(layer.recurrent is not None for layer in network.hidden) else ""
    return f"{'-'.join(map(str, widths))}{recurrent}, {network.readout.kind} readout"


__all__ = ["Certificate", "LayerReads", "NotLocal", "Violation", "certify", "certify_learner"]
