"""The event engine beside the reference: the same network, the same batches, number by number."""

from collections.abc import Callable
from typing import Any

import torch

from neurofdfa.events.inference import run_membranes
from neurofdfa.nn.network import Network
from neurofdfa.train.trainer import Trainer

Build = Callable[[dict[str, Any], torch.dtype], tuple[Network, torch.Tensor, torch.Tensor]]


def train(
    build: Build, case: dict[str, Any], dtype: torch.dtype, events: bool, batches: int
) -> tuple[Any, ...]:
    """A learner, the gradients of its first batch, and the stats of so many batches."""
    network, x, target = build(case, dtype)
    trainer = Trainer(
        network,
        case["rule"],
        torch.optim.Adam(network.parameters(), lr=1e-3),
        loss=case.get("loss"),
        rate_regulariser=case.get("rate"),
        update_every=case.get("every"),
        generator=torch.Generator().manual_seed(3),
        engine="events" if events else "reference",
        threads=case.get("threads", 1),
        chunk=case.get("chunk"),
        probes="reference",
    )
    gradients = trainer.gradients(x, target)
    return trainer, gradients, [trainer.step(x, target) for _ in range(batches)]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * float(a.abs().max()) + 1e-30


def same_learning(there: tuple[Any, ...], here: tuple[Any, ...], weights: float = 1e-11) -> None:
    """Two learners in double precision, their first gradients and the stats of every batch, compared.

    weights: relative tolerance of the weights that they end with.
    """
    (reference, gradients, stats), (events, gradients2, stats2) = there, here
    for a, b in zip(gradients, gradients2, strict=True):
        close(a, b, 1e-11)
    for a, b in zip(reference.network.parameters(), events.network.parameters(), strict=True):
        close(a.detach(), b.detach(), weights)
    matrices = (getattr(x.rule_state, "matrices", ()) for x in (reference, events))
    for a, b in zip(*matrices, strict=True):
        close(a, b, 1e-10)
    for before, after in zip(stats, stats2, strict=True):
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=10 * weights, atol=1e-12)
    for a, b in zip(reference.rates, events.rates, strict=True):
        close(a, b, 1e-12)


def same_numbers(build: Build, case: dict[str, Any], batches: int) -> None:
    """Gradients, weights, feedback, stats and rates in double precision."""
    there, here = (train(build, case, torch.float64, kind, batches) for kind in (False, True))
    same_learning(there, here)


def same_spikes_and_membranes(network: Network, x: torch.Tensor) -> None:
    """Spikes to the bit, outputs and membranes to rounding."""
    expected, seen = network.run(x), run_membranes(network, x)
    for a, b in zip(expected.spikes, seen.trajectory.spikes, strict=True):
        assert torch.equal(a, b)
        assert 0 < float(a.mean()) < 1
    assert (expected.readout_spikes is None) == (seen.trajectory.readout_spikes is None)
    if expected.readout_spikes is not None and seen.trajectory.readout_spikes is not None:
        assert torch.equal(expected.readout_spikes, seen.trajectory.readout_spikes)
        assert 0 < float(expected.readout_spikes.mean()) < 1
    torch.testing.assert_close(expected.y, seen.trajectory.y, rtol=1e-11, atol=1e-12)
    for t, step in enumerate(network.steps(x)):
        for layer, membranes in zip(step.layers, seen.membranes, strict=True):
            torch.testing.assert_close(layer.after.u, membranes[t], rtol=1e-11, atol=1e-12)


def within_rounding(build: Build, case: dict[str, Any]) -> None:
    """Gradients in single precision."""
    (_, gradients, _), (_, gradients2, _) = (
        train(build, case, torch.float32, kind, batches=0) for kind in (False, True)
    )
    for a, b in zip(gradients, gradients2, strict=True):
        close(a, b, 1e-5)
