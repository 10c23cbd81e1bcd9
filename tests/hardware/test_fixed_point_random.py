"""The integer reference against the scalar oracle, on random networks."""

import numpy as np
from hypothesis import assume, given, settings

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from tests.hardware.programs import cases
from tests.hardware.scalar_oracle import run_sample


def assert_equals_oracle(case: tuple[Program, np.ndarray]) -> None:
    program, spikes = case
    try:
        record = simulate(program, spikes, states=True)
    except HardwareError as refusal:
        assume("24 bits" not in str(refusal) and "32-bit" not in str(refusal))
        raise
    for k in range(spikes.shape[1]):
        for name, (u, v, s) in run_sample(program, spikes[:, k]).items():
            if name in record.u:  # graded neurons have no state
                assert record.u[name][:, k].tolist() == u, name
                assert record.v[name][:, k].tolist() == v, name
            assert record.spikes[name][:, k].tolist() == s, name
    if not next(p for p in program.populations if p.name == program.output).spiking:
        assert np.array_equal(record.output_v, record.v[program.output])


@settings(max_examples=80, deadline=None)
@given(cases())
def test_feed_forward_equals_the_scalar_oracle(case):
    assert_equals_oracle(case)


@settings(max_examples=80, deadline=None)
@given(cases(delays=True, recurrent=True, feedback=True, skip=True, graded=True, integrator=True, max_size=4))
def test_everything_at_once_equals_the_scalar_oracle(case):
    assert_equals_oracle(case)


@settings(max_examples=60, deadline=None)
@given(cases(convolutional=True, payloads=True, graded=True, delays=True, recurrent=True, batch=(1, 2)))
def test_convolutions_and_payloads_equal_the_scalar_oracle(case):
    assert_equals_oracle(case)


@settings(max_examples=30, deadline=None)
@given(cases(layers=(1, 1), exponents=(6, 7), max_size=8, steps=(5, 20), batch=(1, 1)))
def test_the_wrap_region_equals_the_scalar_oracle(case):
    assert_equals_oracle(case)


@settings(max_examples=80, deadline=None)
@given(cases(resets=True, always_on=True, recurrent=True, delays=True))
def test_resets_and_what_is_always_on_equal_the_scalar_oracle(case):
    assert_equals_oracle(case)
