"""FDFA's own state; what its feedback converges to is in oracles/test_feedback_estimate.py."""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.rules import FDFA, rule_named
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, relative, small_network, spike_train

X, LABELS = spike_train(), torch.tensor([0, 1, 2, 1])


def learner_with(rule, **settings):
    lif = LIF(tau_mem=6e-3, surrogate=SURROGATE, reset="soft", decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], readout="leaky", **settings)
    return Trainer(
        network,
        rule,
        torch.optim.SGD(network.parameters(), lr=0.0),
        generator=torch.Generator().manual_seed(3),
        engine="reference",
    )


def test_feedback_starts_at_zero_and_has_a_matrix_per_layer():
    matrices = learner_with(FDFA()).rule_state.matrices
    assert [tuple(b.shape) for b in matrices] == [(6, 3), (5, 3)]
    assert not any(b.any() for b in matrices)


@pytest.mark.parametrize("kernel", ["innovation", "output"])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_feedback_of_the_last_layer_finds_the_readout(kernel, probe):
    learner = learner_with(FDFA(momentum=0.01, kernel=kernel, probe=probe))
    x, labels = X[:4].repeat(1, 250, 1), LABELS.repeat(250)
    for _ in range(10):
        learner.step(x, labels)
    w_out = learner.network.readout.synapse.weight
    assert relative(learner.rule_state.matrices[1], w_out.t()) < 0.1


def test_every_other_batch_leaves_the_feedback_alone():
    learner = learner_with(FDFA(every=2))
    seen = []
    for _ in range(4):
        learner.step(X, LABELS)
        seen.append(learner.rule_state.matrices[0].clone())
    assert seen[0].any()
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert torch.equal(seen[2], seen[3])


@pytest.mark.parametrize(("fraction", "probed"), [(1.0, 4), (0.5, 2), (0.3, 2), (0.01, 1)])
def test_fraction_of_the_batch_that_carries_tangents(fraction, probed):
    learner = learner_with(FDFA(fraction=fraction))
    stream = learner.stream(4, horizon=12)
    stream.step(X[0], LABELS)
    assert learner.rule_state.tangent.readout.y.shape == (probed, 3)


def test_probes_are_what_they_are_called():
    generator = torch.Generator().manual_seed(1)
    like = torch.zeros(200, 3, dtype=torch.float64)
    rademacher = FDFA(probe="rademacher").draw(Shard(300), like, generator)
    gaussian = FDFA(probe="gaussian").draw(Shard(300), like, generator)
    assert set(rademacher.unique().tolist()) == {-1.0, 1.0}
    assert gaussian.unique().numel() > 50_000
    for v in (rademacher, gaussian):
        assert v.dtype == torch.float64
        assert abs(float(v.mean())) < 0.02
        assert float(v.var()) == pytest.approx(1.0, abs=0.03)


def test_adam_gets_the_plain_pseudo_gradient():
    """B − Ĵᵀ without the even averaging that belongs to the running average."""
    adam, momentum = (learner_with(FDFA(optimizer=kind, momentum=1.0)) for kind in ("adam", "momentum"))
    slow = learner_with(FDFA(optimizer="adam", momentum=0.01))
    grads = []
    for learner in (adam, momentum, slow):
        stream = learner.stream(4, horizon=12)
        for x_t in X:
            stream.step(x_t, LABELS)
        grads.append(learner.rule_state.matrices[0].grad)
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], grads[2])


def test_weighting_by_error_averages_the_path_where_its_error_is():
    """B_c → Σ e_c² J_c / Σ e_c² over samples and steps, with the path's gain J by hand."""
    lif = LIF(tau_mem=6e-3, surrogate=SURROGATE, reset="soft", decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], readout="leaky", tau_out=4e-3)
    network.readout.synapse.weight.data *= 20.0  # errors that differ between samples
    generator = torch.Generator().manual_seed(3)
    rule = FDFA(momentum=0.02, weighting="error")
    learner = Trainer(
        network, rule, torch.optim.SGD(network.parameters(), lr=0.0), generator=generator, engine="reference"
    )
    x, labels = X[:, :4].repeat(1, 100, 1), LABELS.repeat(100)
    for _ in range(200):
        learner.step(x, labels)
    beta = network.hidden[1].neuron.beta
    w_out, w_2 = network.readout.synapse.weight.detach(), network.hidden[1].synapse.weight.detach()
    found = {
        "error": torch.zeros(3, 6, dtype=torch.float64),
        "uniform": torch.zeros(3, 6, dtype=torch.float64),
    }
    total = {"error": torch.zeros(3, dtype=torch.float64), "uniform": torch.zeros(3, dtype=torch.float64)}
    for t, step in enumerate(network.steps(X[:, :4])):
        gain = sum(beta**n for n in range(t + 1))
        path = gain * torch.einsum("cj,bj,ji->bci", w_out, step.layers[1].psi, w_2)
        error = torch.softmax(step.y, 1) - torch.nn.functional.one_hot(LABELS, 3)
        for name, weight in (("error", error.square()), ("uniform", torch.ones_like(error))):
            found[name] += torch.einsum("bc,bci->ci", weight, path)
            total[name] += weight.sum(0)
    wanted, plain = (found[name] / total[name].unsqueeze(1) for name in ("error", "uniform"))
    learnt = learner.rule_state.matrices[0]
    assert relative(learnt, wanted.t()) < 0.08
    assert relative(plain, wanted) > 0.2
    assert relative(learner.rule_state.matrices[1], w_out.t()) < 0.08  # one path: no weight changes it


@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": "sign"},
        {"momentum": 0.0},
        {"momentum": 1.5},
        {"momentum": float("nan")},
        {"fraction": 0.0},
        {"every": 0},
        {"probe": "uniform"},
        {"kernel": "none"},
        {"optimizer": "sgd"},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(UserError, match="fdfa"):
        rule_named("fdfa", **settings)
