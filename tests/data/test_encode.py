from __future__ import annotations

import pytest
import torch

from neurofdfa.data.dataset import Presentation, Split
from neurofdfa.data.encode import direct, encoder_named, intensities, latency, poisson
from neurofdfa.errors import UserError

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def test_direct_is_the_same_current_at_every_step() -> None:
    x = torch.tensor([[0.0, 0.25], [1.0, 0.5]])
    current = direct(x, 3, gain=2.0)
    assert current.shape == (3, 2, 2)
    for step in current:
        assert torch.equal(step, 2.0 * x)


@pytest.mark.parametrize("device", DEVICES)
def test_poisson_rates_are_intensity_times_max_rate(device: str) -> None:
    x = torch.tensor([[0.0, 0.3, 1.0]], device=device).expand(50, 3)
    spikes = poisson(x, 400, seeded(device=device), max_rate=0.5)
    assert spikes.shape == (400, 50, 3)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    rates = spikes.mean(dim=(0, 1)).cpu()
    # 20 000 draws: the standard error at 0.5 is 0.0035.
    assert rates[0] == 0.0
    assert torch.allclose(rates[1:], torch.tensor([0.15, 0.5]), atol=0.0175)


def test_poisson_steps_and_channels_are_independent(generator: torch.Generator) -> None:
    spikes = poisson(torch.ones(1, 8), 5000, generator, max_rate=0.5)[:, 0] - 0.5
    correlation = 4.0 * spikes.T @ spikes / 5000
    assert (correlation - torch.eye(8)).abs().max() < 0.08
    assert (4.0 * (spikes[1:] * spikes[:-1]).mean(dim=0)).abs().max() < 0.08


def test_poisson_follows_the_generator_alone() -> None:
    x = torch.rand(5, 7, generator=seeded(9))
    torch.manual_seed(1)
    first = poisson(x, 6, seeded(3))
    torch.manual_seed(2)
    assert torch.equal(first, poisson(x, 6, seeded(3)))
    assert not torch.equal(first, poisson(x, 6, seeded(4)))


@pytest.mark.parametrize("device", DEVICES)
def test_latency_by_hand(device: str) -> None:
    x = torch.tensor([[1.0, 0.75, 0.5, 0.001, 0.0]], device=device)
    spikes = latency(x, 5)
    assert spikes[:, 0].T.tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
    ]


def test_latency_is_monotonic_with_one_spike_each() -> None:
    x = torch.linspace(0.01, 1.0, 40).unsqueeze(0)
    spikes = latency(x, 20)
    assert (spikes.sum(dim=0) == 1).all()
    when = spikes.argmax(dim=0)[0]
    assert (when[1:] <= when[:-1]).all()


@pytest.mark.parametrize("name", ["poisson", "latency", "direct"])
def test_encoders_give_uint8_when_asked(name: str) -> None:
    functions = {"poisson": poisson, "latency": latency, "direct": direct}
    out = functions[name](torch.ones(2, 3), 4, seeded(), dtype=torch.uint8)
    assert out.dtype == torch.uint8
    assert out.shape == (4, 2, 3)


def test_unknown_encoders_and_settings_are_refused() -> None:
    with pytest.raises(UserError, match="direct, poisson, latency"):
        encoder_named("rate")
    for bad in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="max_rate"):
            encoder_named("poisson", max_rate=bad)
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="gain"):
            encoder_named("direct", gain=bad)
    assert encoder_named("poisson", max_rate=1.0)(torch.ones(1, 2), 3, seeded()).min() == 1.0
    assert encoder_named("direct", gain=3.0)(torch.ones(1, 2), 3, seeded()).max() == 3.0


def test_bytes_become_intensities() -> None:
    grey = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert intensities(grey).tolist() == pytest.approx([0.0, 0.2, 1.0])


def static(encoder: str, steps: int, n: int = 10) -> Split:
    shown = Presentation(steps, encoder_named(encoder))
    return Split(torch.rand(n, 4, generator=seeded(5)), torch.arange(n), shown)


def test_batches_cover_the_split_once_and_keep_pairs_together() -> None:
    split = static("direct", 3)
    seen: list[int] = []
    sizes: list[int] = []
    for x, y in split.batches(4, generator=seeded()):
        assert x.shape == (3, len(y), 4)
        assert x.dtype == torch.float32
        assert torch.equal(x[0], split.inputs[y])
        seen += y.tolist()
        sizes.append(len(y))
    assert sorted(seen) == list(range(10))
    assert seen != list(range(10))
    assert sizes == [4, 4, 2]


def test_batches_repeat_from_the_generator_and_are_fresh_per_epoch() -> None:
    split = static("poisson", 6)
    one, two = seeded(1), seeded(1)
    first = list(split.batches(4, generator=one))
    for (x, y), (x2, y2) in zip(first, split.batches(4, generator=two), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    second = list(split.batches(4, generator=one))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))


def test_evaluation_noise_is_fixed_for_each_sample() -> None:
    split = static("poisson", 6)
    whole = torch.cat([x for x, _ in split.batches(10)], dim=1)
    by_three = torch.cat([x for x, _ in split.batches(3)], dim=1)
    first, _, lengths = split.first(4)
    assert lengths.tolist() == [6] * 4
    assert torch.equal(whole, by_three)
    assert torch.equal(whole[:, :4], first)


def test_inputs_with_time_pass_through_time_major(generator: torch.Generator) -> None:
    spikes = (torch.rand(5, 8, 3, generator=generator) < 0.5).to(torch.uint8)
    curves = torch.rand(5, 8, 2, generator=generator)
    x, y = next(Split(spikes, curves).batches(5))
    assert x.shape == (8, 5, 3)
    assert x.dtype == torch.float32
    assert torch.equal(x[2, 4], spikes[4, 2].float())
    assert torch.equal(y[7, 1], curves[1, 7])
    with pytest.raises(UserError, match="9 time steps"):
        next(Split(spikes, curves, Presentation(9)).batches(5))


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(UserError, match="batch size"):
        next(static("direct", 3).batches(0))


@pytest.mark.gpu
def test_batches_come_on_the_generators_device() -> None:
    x, y = next(static("poisson", 3).batches(4, generator=seeded(device="cuda")))
    assert x.is_cuda
    assert y.is_cuda


def test_poisson_probabilities_are_exact_at_the_ends_and_fine_between(generator: torch.Generator) -> None:
    x = torch.tensor([[0.0, 2e-3, 1.0 - 2e-3, 1.0]])
    rates = poisson(x, 200_000, generator, max_rate=1.0).mean(dim=0)[0]
    assert rates[0] == 0.0
    assert rates[3] == 1.0
    # Standard error 1e-4.
    assert rates[1] == pytest.approx(2e-3, abs=5e-4)
    assert 1.0 - rates[2] == pytest.approx(2e-3, abs=5e-4)


@pytest.mark.parametrize(("steps", "n"), [(1, 1), (3, 5), (7, 3), (4, 4)])
def test_poisson_of_a_sample_does_not_depend_on_its_batch(steps: int, n: int) -> None:
    x = torch.rand(6, n, generator=seeded(2))
    whole, generator = poisson(x, steps, seeded(3)), seeded(3)
    parts = [poisson(part, steps, generator) for part in (x[:1], x[1:4], x[4:])]
    assert torch.equal(whole, torch.cat(parts, dim=1))
