"""When samples start and which networks need their states cleared, without Lava."""

import numpy as np
import pytest

from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.layout import plan_layout
from tests.hardware.lava.nets import chain, connection, population


def test_feed_forward_samples_follow_each_other_without_a_gap():
    layout = plan_layout(chain((3, 4, 2)), 10, 5, "stock", 64)
    assert (layout.clearing, layout.period, layout.total_steps, layout.lanes) == ("stream", 10, 52, 1)
    lanes = plan_layout(chain((3, 4, 2)), 10, 5, "lanes", 2)
    assert (lanes.period, lanes.total_steps, lanes.lanes) == (10, 32, 2)


def test_lanes_are_not_more_than_samples():
    assert plan_layout(chain((3, 4)), 10, 5, "lanes", 64).lanes == 5


@pytest.mark.parametrize(("mode", "clearing"), [("stock", "set"), ("lanes", "gate")])
def test_recurrence_and_delays_wait_for_the_last_layer(mode, clearing):
    for program in (chain((3, 4, 2), delay=1), recurrent(0)):
        layout = plan_layout(program, 10, 5, mode, 64)
        assert layout.clearing == clearing
        assert layout.period == 12


def recurrent(bias: int) -> Program:
    plain = chain((3, 4, 2))
    loop = connection("l1", "l1", np.eye(4))
    populations = (plain.populations[0], population("l2", 2, mant=bias))
    return Program(3, populations, (*plain.connections, loop), "l2")


def test_only_neurons_with_a_bias_act_before_their_sample():
    assert plan_layout(recurrent(0), 10, 5, "stock", 1).clear_phases == ()
    assert plan_layout(recurrent(3), 10, 5, "stock", 1).clear_phases == (1, 2)


def test_skipping_a_layer_takes_a_delay():
    plain = chain((3, 4, 2))
    for delay, fits in ((0, False), (1, True)):
        skip = connection("input", "l2", np.ones((2, 3)), delay=delay)
        program = Program(3, plain.populations, (*plain.connections, skip), "l2")
        if fits:
            assert plan_layout(program, 4, 1, "lanes", 1).clearing == "gate"
        else:
            with pytest.raises(HardwareError, match="'input-l2' skips layers: give it a delay of at least 1"):
                plan_layout(program, 4, 1, "lanes", 1)
