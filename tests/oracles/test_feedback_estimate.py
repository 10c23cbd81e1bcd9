"""What FDFA's feedback converges to, how fast and with what variance, against autograd's exact Jacobians.

Given one trajectory the tangents are linear in the probes, so every expectation below is exact:

    output kernel:      E Ĵ[t] = Σ_τ κ^τ ∂y[t]/∂s[t−τ] / Σκ^{2τ}   (least-squares fit of the path by κ^τ)
    innovation kernel:  E Ĵ[t] = Σ_τ h(τ) ∂x[t]/∂s[t−τ] · Σh / Σh²  (fit by h, then its gain over time)

with s the transmitted spikes, x the readout's input, y[t] = κ y[t−1] + x[t].
"""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules.fdfa import FDFA
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import (
    SURROGATE,
    relative,
    remembering,
    simulate,
    small_network,
    spec_of,
    spike_train,
    weights_of,
)

STEPS = 8
X = spike_train(steps=STEPS, batch=1)


def network_with(reset="soft", hidden=(6, 4), readout="leaky", reset_gradient="detached", **settings):
    lif = LIF(
        tau_mem=5e-3,
        tau_syn=2e-3,
        reset=reset,
        reset_gradient=reset_gradient,
        surrogate=SURROGATE,
        decay_bits=None,
    )
    settings = {"readout": readout, "tau_out": 4e-3} | settings
    return small_network(lif=lif, hidden=list(hidden), **settings)


@torch.no_grad()
def estimates(rule, network, samples, seed=11, x=X):
    """Ĵ_l[t], averaged over `samples` probes of one trajectory: `[T][L]` of `[k, n]`."""
    state = rule.init(network, torch.Generator().manual_seed(seed))
    state = rule.begin(network, state, Shard(samples))
    found = []
    for t, step in enumerate(network.steps(x.expand(-1, samples, -1))):
        now, state = rule.estimate(network, step, t, state)
        found.append(now)
    return found


def jacobians(network, x=X):
    """∂y[t]/∂sent_l[τ] by autograd: `[L]` of `[T, T, k, n]`, zero for τ > t."""
    w = weights_of(network, requires_grad=True)
    done = simulate(w, x, spec_of(network))
    layers = len(network.hidden)
    k = done.y.shape[2]
    result = [x.new_zeros(len(x), len(x), k, layer.n) for layer in network.hidden]
    for t in range(len(x)):
        for c in range(k):
            nodes = [sent for row in done.sent[: t + 1] for sent in row]
            grads = torch.autograd.grad(done.y[t, 0, c], nodes, retain_graph=True, materialize_grads=True)
            for index, g in enumerate(grads):
                result[index % layers][t, index // layers, c] = g[0]
    return result


def kernel(decays, steps):
    """Impulse response of first-order filters in series, by polynomial multiplication."""
    h = torch.zeros(steps, dtype=torch.float64)
    h[0] = 1.0
    for d in decays:
        powers = torch.tensor([d**n for n in range(steps)], dtype=torch.float64)
        h = torch.stack([(powers[: n + 1].flip(0) * h[: n + 1]).sum() for n in range(steps)])
    return h


def expected(network, which, layer):
    """The formulas of the module docstring for every t: `[T, k, n]`."""
    jacobian = jacobians(network)[layer]
    kappa = network.readout.kappa
    if which == "output":
        h = kernel([kappa], STEPS)
    else:
        jacobian = jacobian.clone()
        jacobian[1:] -= kappa * jacobian[:-1].clone()
        above = [upper.neuron for upper in network.hidden[layer + 1 :]]
        if network.readout.population is not None:
            above.append(network.readout.population.neuron)
        h = kernel([d for lif in above for d in (lif.alpha, lif.beta)], STEPS)
    rows = []
    for t in range(STEPS):
        lags = h[: t + 1].flip(0).view(-1, 1, 1)
        gain = 1.0 if which == "output" else h[: t + 1].sum()
        rows.append((lags * jacobian[t, : t + 1]).sum(0) * gain / h[: t + 1].square().sum())
    return torch.stack(rows)


@pytest.mark.parametrize("which", ["output", "innovation"])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
@pytest.mark.parametrize(
    ("reset", "readout"), [("soft", "leaky"), ("hard", "integrator"), ("soft", "spike-count")]
)
def test_mean_is_the_kernels_fit_of_the_path_at_rate_one_over_root_n(which, probe, reset, readout):
    network = network_with(reset, readout=readout, reset_gradient="attached")
    rule = FDFA(kernel=which, probe=probe)
    exact = [expected(network, which, layer) for layer in (0, 1)]

    def errors(samples, seed):
        found = estimates(rule, network, samples, seed)
        return torch.tensor(
            [relative(torch.stack([row[layer] for row in found]), exact[layer]) for layer in (0, 1)]
        )

    few = torch.stack([errors(400, seed).square() for seed in range(6)]).mean(0).sqrt()
    many = errors(40_000, 99)
    assert many.max() < 0.05
    assert all(5.0 < ratio < 20.0 for ratio in few / many), "100 times the probes: a tenth of the error"


@pytest.mark.parametrize("which", ["output", "innovation"])
def test_last_layer_of_a_feed_forward_network_converges_to_the_readout(which):
    network = network_with(hidden=(6,), readout="integrator")
    w_out = network.readout.synapse.weight
    exact = expected(network, which, 0)
    assert all(relative(row, w_out) < 1e-12 for row in exact)


def test_innovation_target_of_a_deeper_layer_is_the_gain_of_its_path():
    """Two hidden layers, soft detached reset: (Σ_{τ≤t} h) W_o diag(ψ₂[t]) W₂, exactly."""
    network = network_with(readout="integrator")
    exact = expected(network, "innovation", 0)
    neuron = network.hidden[1].neuron
    gain = kernel([neuron.alpha, neuron.beta], STEPS).cumsum(0)
    w_out, w_2 = network.readout.synapse.weight, network.hidden[1].synapse.weight
    for t, step in enumerate(network.steps(X)):
        assert relative(exact[t], gain[t] * w_out @ (step.layers[1].psi[0].unsqueeze(1) * w_2)) < 1e-12


def test_output_target_is_the_running_mean_of_the_innovation_target():
    """With an integrator and soft detached resets above: the same target, seen through the past."""
    network = network_with(hidden=(6, 4, 5), readout="integrator")
    for layer in range(3):
        innovation = expected(network, "innovation", layer)
        steps = torch.arange(1, STEPS + 1, dtype=torch.float64).view(-1, 1, 1)
        same = relative(expected(network, "output", layer), innovation.cumsum(0) / steps)
        # two spiking layers above mix h with time-varying ψ in between, so the identity ends there
        assert same < 1e-12 if layer else 1e-3 < same < 0.3


def test_only_the_output_kernel_sees_the_recurrence_of_the_last_layer():
    """Recurrent spikes reach the readout one step later, where the innovation's kernel has no memory."""
    network = network_with(hidden=(6,), readout="integrator", recurrent=True)
    w_out = network.readout.synapse.weight
    assert all(relative(row, w_out) < 1e-12 for row in expected(network, "innovation", 0))
    output = expected(network, "output", 0)
    assert relative(output[-1], w_out) > 0.1
    found = torch.stack([row[0] for row in estimates(FDFA(kernel="output"), network, 40_000)])
    assert relative(found, output) < 0.06


def single_probe_estimates(monkeypatch, rule, network, lanes, x):
    """Ĵ_l[t] of every sample before the rule averages them: `[T, S, k, n]` per layer."""
    drawn = []
    draw = FDFA.draw

    def recorded(self, *arguments):
        drawn.append(draw(self, *arguments))
        return drawn[-1]

    monkeypatch.setattr(FDFA, "draw", recorded)
    layers = len(network.hidden)
    output = rule.kernel == "output"
    kernels = [kernel(decays, len(x)) for decays in rule.kernels(network)]
    state = rule.begin(network, rule.init(network, torch.Generator().manual_seed(7)), Shard(lanes))
    found = [[] for _ in range(layers)]
    with torch.no_grad():
        for t, step in enumerate(network.steps(x.expand(-1, lanes, -1))):
            averaged, state = rule.estimate(network, step, t, state)
            seen = state.tangent.readout.y if output else state.tangent.readout.drive
            for index, h in enumerate(kernels):
                past = drawn[index::layers]
                z = sum(h[t - tau] * past[tau] for tau in range(t + 1))
                gain = (1.0 if output else h[: t + 1].sum()) / h[: t + 1].square().sum()
                found[index].append(gain * seen.unsqueeze(2) * z.unsqueeze(1))
                torch.testing.assert_close(found[index][-1].mean(0), averaged[index])
    return [torch.stack(layer) for layer in found]


@pytest.mark.parametrize(("probe", "sign"), [("gaussian", 1.0), ("rademacher", -1.0)])
@pytest.mark.parametrize("which", ["innovation", "output"])
def test_single_shot_variance(monkeypatch, probe, sign, which):
    """‖J_k‖² ± J_kj² per entry, with one layer and at the first step."""
    network = network_with(hidden=(6,), readout="integrator")
    (shots,) = single_probe_estimates(monkeypatch, FDFA(probe=probe, kernel=which), network, 40_000, X[:1])
    j = network.readout.synapse.weight.detach()
    theory = j.square().sum(1, keepdim=True) + sign * j.square()
    assert relative(shots[0].var(0), theory) < 0.05
    other = j.square().sum(1, keepdim=True) - sign * j.square()
    assert relative(shots[0].var(0), other) > 0.15, "the two probes must be told apart"


def test_probes_of_every_layer_add_to_the_variance_of_each(monkeypatch):
    """Σ_l ‖J^l_k‖² − J_kj²: the other layers' probes are noise to this one."""
    network = network_with(readout="integrator")
    x = 3.0 * X[:1]
    first, _ = single_probe_estimates(monkeypatch, FDFA(), network, 40_000, x)
    step = next(iter(network.steps(x)))
    w_out = network.readout.synapse.weight.detach()
    j = w_out @ (step.layers[1].psi[0].unsqueeze(1) * network.hidden[1].synapse.weight.detach())
    theory = (j.square().sum(1) + w_out.square().sum(1)).unsqueeze(1) - j.square()
    assert relative(first[0].var(0), theory) < 0.05


@pytest.mark.parametrize("kappa", [1.0, 0.8])
def test_innovation_averages_noise_away_over_time_and_the_output_kernel_does_not(monkeypatch, kappa):
    """Over T steps: variance V/T for the innovation, V·c for the output kernel,

    c = T⁻² Σ_{t,t'} κ^{2|t−t'|} m_min/m_max, m_t = Σ_{τ≤t} κ^{2τ}: about 1/2 for κ = 1 (a factor T/2 between
    the two), and (1+κ²)/(1−κ²)/T for κ < 1 and long sequences.
    """
    steps = 30
    network = network_with(hidden=(6,), **remembering(kappa))
    m = torch.tensor([kappa ** (2 * n) for n in range(steps)], dtype=torch.float64).cumsum(0)
    t = torch.arange(steps, dtype=torch.float64)
    lag = (t.unsqueeze(0) - t.unsqueeze(1)).abs()
    ratio = torch.minimum(m.unsqueeze(0), m.unsqueeze(1)) / torch.maximum(m.unsqueeze(0), m.unsqueeze(1))
    shares = {"output": float((kappa ** (2 * lag) * ratio).mean()), "innovation": 1.0 / steps}
    j = network.readout.synapse.weight.detach()
    for which, share in shares.items():
        rule = FDFA(kernel=which, probe="gaussian")
        x = torch.zeros(steps, 1, 5, dtype=torch.float64)
        (shots,) = single_probe_estimates(monkeypatch, rule, network, 4000, x)
        theory = (j.square().sum(1, keepdim=True) + j.square()) * share
        assert float(shots.mean(0).var(0).sum() / theory.sum()) == pytest.approx(1.0, abs=0.1)
    assert shares["output"] / shares["innovation"] > (14.0 if kappa == 1.0 else 3.5)


def still(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def test_running_average_has_the_variance_a_over_two_minus_a():
    a = 0.3
    network = feed_forward(5, [100], 20, readout="integrator").double()
    learner = Trainer(
        network,
        FDFA(momentum=a),
        still(network.parameters()),
        generator=torch.Generator().manual_seed(2),
        engine="reference",
    )
    seen = []
    for n in range(400):
        learner.step(X[:1], torch.tensor([0]))
        if n >= 20:
            seen.append(learner.rule_state.matrices[0].clone())
    j = network.readout.synapse.weight.detach()
    single = (j.square().sum(1, keepdim=True) - j.square()).sum()
    assert float(torch.stack(seen).var(0).sum() / single) == pytest.approx(a / (2 - a), rel=0.08)


def test_feedback_follows_a_drifting_readout_with_the_lag_of_a_running_average():
    """W_o moves by δ per batch: B stays (1 − a)/a · δ behind, the a-average of a line."""
    network = network_with(hidden=(6,), readout="integrator")
    a = 0.1
    learner = Trainer(
        network,
        FDFA(momentum=a),
        still(network.parameters()),
        generator=torch.Generator().manual_seed(2),
        engine="reference",
    )
    weight = network.readout.synapse.weight
    generator = torch.Generator().manual_seed(8)
    drift = 0.05 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    x, label = X[:1].expand(-1, 4000, -1), torch.zeros(4000, dtype=torch.int64)
    for n in range(120):
        if n:
            with torch.no_grad():
                weight += drift
        learner.step(x, label)
    lag = (weight - learner.rule_state.matrices[0].t()) - drift * (1 - a) / a
    assert float(lag.norm() / (drift.norm() * (1 - a) / a)) < 0.15
    assert relative(learner.rule_state.matrices[0].t(), weight) < 0.2


def test_the_first_estimates_are_averaged_evenly():
    """So that B is unbiased from its first update on, although it starts at 0."""
    network = network_with(hidden=(6,), readout="integrator")
    learner = Trainer(
        network,
        FDFA(momentum=0.01),
        still(network.parameters()),
        generator=torch.Generator().manual_seed(2),
        engine="reference",
    )
    twin = FDFA(momentum=0.01)
    state = twin.init(network, torch.Generator().manual_seed(2))
    shots = []
    for _ in range(12):
        learner.step(X, torch.tensor([1]))
        state = twin.begin(network, state, Shard(1))
        per_step = []
        with torch.no_grad():
            for t, step in enumerate(network.steps(X)):
                now, state = twin.estimate(network, step, t, state)
                per_step.append(now[0])
        shots.append(torch.stack(per_step).mean(0))
        torch.testing.assert_close(
            learner.rule_state.matrices[0], torch.stack(shots).mean(0).t(), rtol=1e-10, atol=1e-12
        )
