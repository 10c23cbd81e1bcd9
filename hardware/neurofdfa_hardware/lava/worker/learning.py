"""A chain of layers that learns inside Lava, and the refresh of its feedback by the host.

    processor → synapses → hidden → … → synapses → readout → v → processor
                  ↑ y2, y3   ↑ B·e        ↑ y2, y3    ↑ e          │
                  └─ hidden ─┴─ feedback ─┴── readout ┴──── e ─────┘

Synapses are Lava's LearningDense with Loihi3FLearningRule, feedback Lava's Dense, or a LearningDense where it
learns. Nothing of an update is computed outside Lava; the host may refresh the last B.
"""

import numpy as np
from embedded import Feedback
from lava.magma.core.learning.constants import GradedSpikeCfg
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.proc.dense.process import Dense, LearningDense
from lava.utils.weightutils import SignMode
from processes.learner import TaughtLIF, Teacher

NO_DECAY = 65535


class LearningNetwork:
    """Processes of one learning job; `host` and `layer_names` as in `network.Network`."""

    def __init__(self, job, arrays):
        rule, self.sizes = job["rule"], job["sizes"]
        depth = len(self.sizes) - 1
        plan = {**job["plan"], "period": rule["period"], "depth": depth, "score_shift": rule["score_shift"]}
        self.host = Teacher(n_in=self.sizes[0], n_out=self.sizes[-1], plan=plan, name="embedded processor")
        self.neurons, self.synapses, self.feedback = [], [], []
        for place, size in enumerate(self.sizes[1:], 1):
            last = place == depth
            window = None if last else (arrays[f"{place}/low"], arrays[f"{place}/high"])
            neuron = TaughtLIF(
                shape=(size,),
                shift=0 if last else rule["shift_hidden"],
                window=window,
                minus=-1 if last else (plan["steps"] + depth + 2) % rule["period"],
                impulse=rule["impulse"],
                reset_interval=rule["period"],
                reset_offset=place + 1,
                name=job["names"][place],
                **{key: arrays[f"{place}/{key}"] for key in ("du", "dv", "vth", "bias_mant", "bias_exp")},
            )
            self.neurons.append(neuron)
            self.synapses.append(self._learning(place, job, arrays))
            if not last:
                self.feedback.append(self._feedback(place, job, arrays))
        self._connect()

    def _learning(self, place, job, arrays):
        rule, weight = job["rule"], arrays[f"{place}/weight"]
        plastic = Loihi3FLearningRule(
            dw=job["texts"]["readout" if place == len(self.sizes) - 1 else "hidden"],
            x1_impulse=rule["impulse"],
            x1_tau=rule["tau"],
            t_epoch=rule["epoch"],
            rng_seed=rule["seed"],
        )
        return LearningDense(
            weights=weight,
            tag_1=np.broadcast_to(2 * arrays[f"{place}/rest"], weight.shape).copy(),
            weight_exp=job["weight_exp"][place - 1],
            num_weight_bits=8,
            sign_mode=SignMode.MIXED,
            learning_rule=plastic,
            name=f"synapses into {job['names'][place]}",
        )

    def _feedback(self, place, job, arrays):
        rule, weight = job["rule"], arrays[f"{place}/feedback"]
        settings = {
            "weights": weight,
            "weight_exp": 0,
            "num_weight_bits": 8,
            "sign_mode": SignMode.MIXED,
            "num_message_bits": 8,
            "name": f"feedback {place}",
        }
        if job["texts"]["feedback"] is None:
            return Dense(**settings)
        plastic = Loihi3FLearningRule(
            dw=job["texts"]["feedback"],
            x1_impulse=0,
            x1_tau=NO_DECAY,
            t_epoch=rule["epoch"],
            rng_seed=rule["seed"],
        )
        rest = arrays[f"{place + 1}/rest"]  # of this layer's own neurons
        return LearningDense(
            **settings,
            tag_1=np.broadcast_to(2 * rest[:, None], weight.shape).copy(),
            learning_rule=plastic,
            graded_spike_cfg=GradedSpikeCfg.OVERWRITE,
        )

    def _connect(self):
        source = self.host.s_out
        for neuron, synapses in zip(self.neurons, self.synapses, strict=True):
            source.connect(synapses.s_in)
            synapses.a_out.connect(neuron.a_in)
            neuron.y2_out.connect(synapses.s_in_y2)
            neuron.y3_out.connect(synapses.s_in_y3)
            source = neuron.s_out
        self.neurons[-1].v_out.connect(self.host.v_in)
        self.host.error_out.connect(self.neurons[-1].third_in)
        self.host.payload_out.connect([feedback.s_in for feedback in self.feedback])
        for neuron, feedback in zip(self.neurons, self.feedback, strict=False):
            feedback.a_out.connect(neuron.third_in)
            if isinstance(feedback, LearningDense):
                neuron.y1_out.connect(feedback.s_in_y1)

    def clear_traces(self):
        """Presynaptic traces count from 0 in every sample."""
        for synapses in self.synapses:
            synapses.x1.set(np.zeros(synapses.x1.shape, np.int64))

    def layer_names(self):
        """Process → the name that a user knows it by."""
        processes = [self.host, *self.neurons, *self.synapses, *self.feedback]
        return {process: process.name for process in processes}


def run_learning(job, arrays, network, run, report):
    """One sample after the other; in between, the host clears traces and refreshes the last B."""
    rule, samples = job["rule"], job["plan"]["samples"]
    last = len(network.feedback)
    host = Feedback(arrays[f"{last}/feedback"], rule["momentum"], rule["probes"], rule["seed"])
    history = [[] for _ in network.synapses] if job["history"] else []
    for sample in range(samples):
        if sample:
            network.clear_traces()
        if sample and rule["refresh_every"] and sample % rule["refresh_every"] == 0:
            readout = np.asarray(network.synapses[-1].weights.get(), np.int64)
            network.feedback[-1].weights.set(host.refresh(readout))
        run(rule["period"])
        for kept, synapses in zip(history, network.synapses, strict=False):
            kept.append(np.asarray(synapses.weights.get(), np.int16))
        report(event="progress", job=job["index"], fraction=(sample + 1) / samples)
    found = {}
    for place, synapses in enumerate(network.synapses, 1):
        found[f"{place}/weight"] = np.asarray(synapses.weights.get(), np.int64)
    for place, feedback in enumerate(network.feedback, 1):
        found[f"{place}/feedback"] = np.asarray(feedback.weights.get(), np.int64)
    return {**found, **{f"{place}/history": np.array(kept) for place, kept in enumerate(history, 1)}}
