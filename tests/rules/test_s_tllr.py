"""S-TLLR's eligibility against a literal sum over all pairs of steps."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.rules import OTTT, STLLR
from neurofdfa.rules.s_tllr import SpikeTiming
from tests.rules.slow import LABELS, input_spikes, learnt, psi, tiny


def pairs(signal, slope, pre, trace):
    """Σ_t λ[t] (a_pre ψ[t] Σ_{τ≤t} λ_pre^{t−τ} s[τ] + a_post s[t] Σ_{τ<t} λ_post^{t−1−τ} ψ[τ])."""
    total = torch.zeros(slope.shape[2], pre.shape[2], dtype=torch.float64)
    for t in range(len(pre)):
        for tau in range(t + 1):
            causal = trace.gain_pre * trace.decay_pre ** (t - tau) * signal[t] * slope[t]
            total += causal.T @ pre[tau]
        for tau in range(t):
            reverse = trace.gain_post * trace.decay_post ** (t - 1 - tau) * signal[t] * slope[tau]
            total += reverse.T @ pre[t]
    return total


@pytest.mark.parametrize(
    "trace", [SpikeTiming(), SpikeTiming(0.5, 1.0, 1.0, 1.0), SpikeTiming(0.9, 0.4, 0.3, -2.0)]
)
def test_the_trace_is_the_sum_over_all_pairs(trace):
    network, x = tiny((6, 5), recurrent=True, bias=True), input_spikes()
    learner, found = learnt(network, STLLR(trace=trace, feedback="random"), x)
    with torch.no_grad():
        records = list(network.steps(x))
    e = torch.stack([torch.softmax(r.y, 1) - torch.eye(3)[LABELS] for r in records]).double() / 9
    for index in range(2):
        signal = e @ learner.rule_state.matrices[index].T
        seen = [r.layers[index] for r in records]
        slope = torch.stack([psi(s.after.u - 1.0) for s in seen]).detach()
        carried = {
            "weight": torch.stack([s.pre for s in seen]),
            "bias": torch.ones(9, 4, 1, dtype=torch.float64),
            "recurrent.weight": torch.stack([s.before.s for s in seen]),
        }
        for name, pre in carried.items():
            wanted = pairs(signal, slope, pre, trace)
            assert wanted.abs().max() > 1e-4
            ours = 4 * found[f"hidden.{index}.{name}"]
            torch.testing.assert_close(ours.reshape(wanted.shape), wanted, rtol=1e-9, atol=1e-12)


def test_without_the_non_causal_part_and_with_the_membranes_decay_it_is_the_usual_trace():
    network = tiny(tau_syn=0.0)
    x = input_spikes()
    beta = network.hidden[0].neuron.beta
    _, timing = learnt(network, STLLR(trace=SpikeTiming(decay_pre=beta, gain_post=0.0)), x)
    _, ottt = learnt(network, OTTT(), x)
    for name, gradient in ottt.items():
        torch.testing.assert_close(timing[name], gradient, rtol=1e-10, atol=1e-13)


def test_settings_and_locality():
    assert STLLR(feedback="random").local_in_space
    assert not STLLR().local_in_space
    with pytest.raises(UserError, match="spatial or random"):
        STLLR(feedback="learnt")
    with pytest.raises(UserError, match="0 to 1"):
        SpikeTiming(decay_pre=1.5)
