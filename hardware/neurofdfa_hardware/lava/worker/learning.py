"""A network of one hidden layer that learns inside Lava, and the refresh of its feedback by the host.

    teacher → synapses 1 → hidden → synapses 2 → output → (−) error ← (+) labels
                  ↑ y2, y3   ↑ B·e      ↑ y2, y3    ↑ e       ↓
                  └─ hidden ─┴──────────┴─ output ──┴─── feedback

Synapses 1 and 2 are Lava's LearningDense with Loihi3FLearningRule, the error neurons Lava's TernaryLIF, the
feedback Lava's Dense. Nothing of the update is computed outside Lava; the host may refresh B.
"""

import numpy as np
from feedback import Feedback
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.proc.dense.process import Dense, LearningDense
from lava.proc.lif.process import TernaryLIF
from lava.utils.weightutils import SignMode
from processes.learner import TaughtLIF, Teacher


class LearningNetwork:
    """Processes of one learning job; `host` and `layer_names` as in `network.Network`."""

    def __init__(self, job, arrays):
        rule = job["rule"]
        n_in, n_hidden, n_out = job["sizes"]
        self.host = Teacher(
            n_in=n_in, n_out=n_out, plan={**job["plan"], "period": rule["period"]}, name="teacher"
        )
        self.hidden = self._neuron("hidden", n_hidden, 2, rule, arrays)
        self.output = self._neuron("output", n_out, 3, rule, arrays)
        self.into_hidden = self._synapses("input", rule["rate_hidden"], job, arrays)
        self.into_output = self._synapses("hidden", rule["rate_output"], job, arrays)
        # A weight of 2 is the smallest of the grid: one spike more than the label's is one error spike.
        self.error = TernaryLIF(shape=(n_out,), du=4095, dv=0, vth_hi=1, vth_lo=-1, name="error")
        self.label = fixed_dense(np.eye(n_out) * 2, 0, "label")
        self.spikes = fixed_dense(np.eye(n_out) * -2, 0, "output spikes")
        self.broadcast = fixed_dense(arrays["feedback"] * 2, -1, "feedback")
        self.own_error = fixed_dense(np.eye(n_out) * 2, -1, "output error")
        self._connect()

    @staticmethod
    def _neuron(name, size, offset, rule, arrays):
        gated = name == "hidden"
        return TaughtLIF(
            shape=(size,),
            shift=rule["shift_hidden" if gated else "shift_output"],
            window=tuple(rule["window"]) if gated else None,
            reset_interval=rule["period"],
            reset_offset=offset,
            name=name,
            **{key: arrays[f"{name}/{key}"] for key in ("du", "dv", "vth", "bias_mant", "bias_exp")},
        )

    @staticmethod
    def _synapses(source, exponent, job, arrays):
        rule = job["rule"]
        every = int(np.log2(rule["period"] // rule["epoch"]))
        plastic = Loihi3FLearningRule(
            dw=f"2^{exponent}*u{every}*x1*y2 - 2^{exponent}*u{every}*x1*y3",
            x1_impulse=rule["impulse"],
            x1_tau=rule["tau"],
            t_epoch=rule["epoch"],
            rng_seed=rule["seed"],
        )
        return LearningDense(
            weights=arrays[f"{source}/weight"],
            weight_exp=job["weight_exp"][source],
            num_weight_bits=8,
            sign_mode=SignMode.MIXED,
            learning_rule=plastic,
            name=f"synapses of {source}",
        )

    def _connect(self):
        self.host.s_out.connect(self.into_hidden.s_in)
        self.into_hidden.a_out.connect(self.hidden.a_in)
        self.hidden.s_out.connect(self.into_output.s_in)
        self.into_output.a_out.connect(self.output.a_in)
        for neuron, synapses in ((self.hidden, self.into_hidden), (self.output, self.into_output)):
            neuron.y2_out.connect(synapses.s_in_y2)
            neuron.y3_out.connect(synapses.s_in_y3)
        self.output.s_out.connect([self.spikes.s_in, self.host.output_in])
        self.host.label_out.connect(self.label.s_in)
        self.label.a_out.connect(self.error.a_in)
        self.spikes.a_out.connect(self.error.a_in)
        self.error.s_out.connect([self.broadcast.s_in, self.own_error.s_in, self.host.error_in])
        self.broadcast.a_out.connect(self.hidden.third_in)
        self.own_error.a_out.connect(self.output.third_in)

    def layer_names(self):
        """Process → the name that a user knows it by."""
        return {process: process.name for process in vars(self).values()}


def fixed_dense(weights, weight_exp, name):
    """A Dense that does not learn and takes signed or graded spikes."""
    return Dense(
        weights=np.asarray(weights, np.int64),
        weight_exp=weight_exp,
        num_weight_bits=8,
        sign_mode=SignMode.MIXED,
        num_message_bits=8,
        name=name,
    )


def run_learning(job, arrays, network, run, report):
    """Stream the samples; in between, the host refreshes B where the job asks for it. Returns the results."""
    rule, samples = job["rule"], job["plan"]["samples"]
    every = 1 if job["history"] else rule["refresh_every"] or 10
    feedback = Feedback(
        arrays["feedback"], rule["momentum"], rule["probes"], rule["feedback_scale"], rule["seed"]
    )
    integers = arrays["feedback"]
    learnt = {"input": network.into_hidden.weights, "hidden": network.into_output.weights}
    history = {f"{name} history": [] for name in learnt}
    for first in range(0, samples, every):
        if first and rule["refresh_every"] and first % rule["refresh_every"] == 0:
            integers = feedback.refresh(np.asarray(learnt["hidden"].get(), np.int64))
            network.broadcast.weights.set(integers * 2)
        following = min(first + every, samples)
        run((following - first) * rule["period"])
        if job["history"]:
            for name, weights in learnt.items():
                history[f"{name} history"].append(np.asarray(weights.get(), np.int16))
        report(event="progress", job=job["index"], fraction=following / samples)
    weights = {name: np.asarray(variable.get(), np.int64) for name, variable in learnt.items()}
    return {**weights, "feedback": integers, **{name: np.array(kept) for name, kept in history.items()}}
