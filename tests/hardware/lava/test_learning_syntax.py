"""The rules of `neurofdfa_hardware.learning` are rules that Lava's engine takes, at its widths."""

import json
import subprocess

from neurofdfa_hardware.lava import Environment
from neurofdfa_hardware.learning import lower
from neurofdfa_hardware.learning.rules import TABLE
from neurofdfa_hardware.learning.terms import TAG_BITS, TRACE_BITS, WEIGHT_BITS


def test_lava_takes_the_rules_and_has_the_widths(environment: Environment) -> None:
    """Lava's own parser and constants, in its own interpreter."""
    script = """
import json, sys
from lava.magma.core.learning.constants import W_TRACE, W_WEIGHTS_U, W_TAG_1_U
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
for changes in json.load(sys.stdin):
    rule = Loihi3FLearningRule(x1_impulse=16, x1_tau=12, t_epoch=4, rng_seed=1, **changes)
    assert all(getattr(rule, target) is not None for target in changes)
print(W_TRACE, W_WEIGHTS_U, W_TAG_1_U)
"""
    wanted = []
    for name in TABLE:
        low = lower(name)
        wanted += [
            {target: text.format(rate=-4, every=2)}
            for target, text in (("dw", low.dw), ("dt", low.dt), ("dw", low.feedback_dw))
            if text
        ]
    assert len(wanted) > 15
    done = subprocess.run(
        [str(environment.python), "-c", script],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [int(x) for x in done.stdout.split()] == [TRACE_BITS, WEIGHT_BITS, TAG_BITS]
