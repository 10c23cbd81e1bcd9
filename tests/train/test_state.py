"""What goes on from a state is the training that was left, bit for bit: every rule, both engines."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.rules import RULES, rule_named
from neurofdfa.rules.engine_facts import EngineFacts
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

X, LABELS = spike_train(steps=12), torch.tensor([0, 1, 2, 1])
BATCHES = [X[:, torch.randperm(4, generator=torch.Generator().manual_seed(k))] for k in range(6)]
VARIANTS = [
    *((name, {}) for name in RULES),
    ("fdfa", {"fraction": 0.5, "every": 2}),
    ("fdfa", {"optimizer": "adam"}),
    ("fdfa", {"weighting": "error"}),
    ("e-prop", {"feedback": "learnt"}),
    ("dfa", {"trace": "per-synapse"}),
    ("bptt", {"window": 5}),
]
EVERY = pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=["-".join([n, *map(str, s.values())]) for n, s in VARIANTS]
)


def trainer_of(name, settings, engine, seed=1, make=torch.optim.Adam, **more):
    lif = LIF(tau_mem=6e-3, tau_syn=2e-3, surrogate=SURROGATE, decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], bias=True, dropout=0.2).float()
    network.initialise(torch.Generator().manual_seed(seed), gain=2.0)
    options = {"lr": 1e-2} | ({"momentum": 0.9} if make is torch.optim.SGD else {})
    return Trainer(
        network,
        rule_named(name, **settings),
        make(network.parameters(), **options),
        engine=engine,
        generator=torch.Generator().manual_seed(seed),
        batch_first=False,
        **more,
    )


def states(trainer):
    return {name: tensor.clone() for name, tensor in trainer.state_dict().items()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def goes_on(make, scheduled=False):
    """Train 3 and 3 batches, or 6: the same weights, feedback, scores and random numbers."""

    def schedule(trainer):
        return torch.optim.lr_scheduler.StepLR(trainer.optimizer, 2, 0.5)

    whole, first = make(1), make(1)
    ends = schedule(whole) if scheduled else None
    begins = schedule(first) if scheduled else None
    expected = []
    for x in BATCHES:
        expected.append(whole.step(x, LABELS))
        if ends is not None:
            ends.step()
    for x in BATCHES[:3]:
        first.step(x, LABELS)
        if begins is not None:
            begins.step()
    kept = first.state_dict()
    first.step(BATCHES[5], LABELS)  # a state that was kept does not change with the training
    second = make(2)
    second.load_state_dict(kept)
    onwards = schedule(second) if scheduled else None
    if onwards is not None and begins is not None:
        onwards.load_state_dict(begins.state_dict())
    for x, stats in zip(BATCHES[3:], expected[3:], strict=True):
        for a, b in zip(second.step(x, LABELS), stats, strict=True):
            assert torch.equal(a, b)
        if onwards is not None:
            onwards.step()
    assert_equal(states(second), states(whole))
    assert torch.equal(second.predict(X), whole.predict(X))


@EVERY
@pytest.mark.parametrize("engine", ["reference", "events"])
def test_training_goes_on_bit_for_bit(name, settings, engine):
    if engine == "events" and not isinstance(rule_named(name, **settings).engine_facts, EngineFacts):
        with pytest.raises(UserError, match="does not execute"):
            trainer_of(name, settings, engine)
        return
    goes_on(lambda seed: trainer_of(name, settings, engine, seed))


@pytest.mark.parametrize("engine", ["reference", "events"])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_with_every_kind_of_optimizer_and_a_schedule(engine, make):
    goes_on(lambda seed: trainer_of("fdfa", {}, engine, seed, make), scheduled=True)
    goes_on(lambda seed: trainer_of("dkp", {}, engine, seed, make), scheduled=True)


@pytest.mark.parametrize("engine", ["reference", "events"])
def test_with_regulated_rates_and_updates_within_the_sequence(engine):
    goes_on(lambda seed: trainer_of("fdfa", {}, engine, seed, rate_regulariser=RateRegulariser(0.1, 0.5)))
    goes_on(lambda seed: trainer_of("fdfa", {}, engine, seed, update_every=4))


def test_through_a_file(tmp_path: Path):
    first = trainer_of("fdfa", {}, "events")
    first.step(X, LABELS)
    save_file(first.state_dict(), tmp_path / "state.safetensors")
    second = trainer_of("fdfa", {}, "events", seed=2)
    second.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert_equal(states(first), states(second))


def test_what_does_not_fit_changes_nothing():
    other = trainer_of("fdfa", {}, "reference")
    other.step(X, LABELS)
    before = states(other)
    wider = before | {"weights.layers.0.weight": torch.zeros(7, 5)}
    unseeded = {name: x for name, x in before.items() if not name.startswith("generator")}
    for wrong in (trainer_of("dfa", {}, "reference").state_dict(), {}, wider, unseeded):
        with pytest.raises(UserError, match="does not fit"):
            other.load_state_dict(wrong)
        assert_equal(states(other), before)
