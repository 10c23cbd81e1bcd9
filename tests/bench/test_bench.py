"""What is measured is what is said: work counted by hand, rates matched, every command's output whole."""

import json
from pathlib import Path

import pytest
import torch

from neurofdfa.bench import NETS, Net
from neurofdfa.bench.nets import least_work, prepare
from neurofdfa.bench.peers import peer, sort_out
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.cli import run
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate


def test_least_work_counted_by_hand() -> None:
    work = least_work(Net(10, (4, 3), 2, 5, 0.5), (0.25, 1 / 3), 0.5)
    assert work.dense * 1e3 == pytest.approx(2 * (40 + 12 + 6) + 12 + 6)
    events = 2 * (5 * 4 + 1 * 3 + 1 * 2)
    assert work.back_events * 1e3 == pytest.approx(events + 12 + 6)
    assert work.online_events * 1e3 == pytest.approx(events + 7 * 2 + 0.5 * (12 + 6 + 7 * 2))


def test_ratios_are_paired_by_round() -> None:
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == (3.0, (2.5, 3.5))
    calls: list[str] = []
    seconds = time_rounds({name: lambda name=name: calls.append(name) for name in "ab"}, 2)
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}
    assert set(calls) == {"a", "b"}


@pytest.mark.parametrize("name", ["snntorch", "norse", "spikingjelly"])
def test_peers_fire_as_often_as_ours(name: str) -> None:
    pytest.importorskip(name)
    network, x, _ = prepare(NETS["A"]._replace(steps=20), 4)
    ours = [float(s.mean()) for s in network.run(x).spikes]
    other = peer(name, network)
    other.match(ours, x)
    assert other.rates(x) == pytest.approx(ours, rel=0.03)


@pytest.mark.parametrize("name", ["snntorch", "norse", "spikingjelly"])
def test_peers_reset_as_ours_do(name: str) -> None:
    """A hard reset loses what lies above the threshold: from the same weights they fire less often."""
    pytest.importorskip(name)
    made, x, _ = prepare(NETS["A"]._replace(steps=20), 4)
    hard = feed_forward(700, (256, 256), 20, neuron=LIF(tau_mem=5e-3, reset="hard", decay_bits=None))
    hard.load_state_dict(made.state_dict())
    soft_rate, hard_rate = peer(name, made).rates(3 * x)[0], peer(name, hard).rates(3 * x)[0]
    assert hard_rate == soft_rate if name == "norse" else hard_rate < 0.97 * soft_rate


def test_recurrence_and_dropout_in_snntorch_alone() -> None:
    pytest.importorskip("snntorch")
    network = feed_forward(30, (40,), 5, neuron=LIF(), recurrent=True, dropout=0.5)
    x = (torch.rand(12, 6, 30, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    scale_to_rate(network, x, 0.1, rounds=8)
    other = peer("snntorch", network)
    wanted = [float(s.mean()) for s in network.run(x).spikes]
    other.match(wanted, x)
    assert other.rates(x) == pytest.approx(wanted, rel=0.05)
    assert [tuple(p.shape) for p in other.parameters] == [(40, 30), (5, 40), (40, 40)]
    with torch.no_grad():
        assert not torch.equal(other.forward(x), other.forward(x))  # neurons are dropped anew
    before = other.parameters[-1].detach().clone()
    other.learner(1e-2)(x, torch.zeros(6, dtype=torch.int64))
    assert not torch.equal(before, other.parameters[-1])
    for name in ("norse", "spikingjelly"):
        pytest.importorskip(name)
        with pytest.raises(UserError, match="without recurrent synapses and dropout"):
            peer(name, network)


def test_unknown_and_missing_peers() -> None:
    with pytest.raises(UserError, match="unknown peer 'nest'"):
        sort_out(["snntorch", "nest"])
    found, missing = sort_out(["snntorch", "norse", "spikingjelly"])
    assert sorted(found + missing) == ["norse", "snntorch", "spikingjelly"]


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snntorch")
    common = ["--against", "snntorch", "--out", str(tmp_path), "--json"]
    assert run(["bench", "train", "--batches", "2", "--rounds", "2", *common]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    (row,), (floor,) = document["rows"], document["floor_ratio"]
    assert (row["net"], row["batch"], row["peer"]) == ("A", 2, "snntorch")
    assert row["spread"][0] <= row["ratio"] <= row["spread"][1]
    assert row["peer_rates"] == pytest.approx(row["rates"], rel=0.02)
    assert floor["events"] > floor["dense_products"] > 0
    assert json.loads((tmp_path / "train.json").read_text()) == document
    assert run(["bench", "memory", "--steps", "2", "--batch", "2", *common]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [(row["peer"], row["rule"], row["T"]) for row in rows] == [
        ("neurofdfa", "fdfa", 2),
        ("snntorch", "bptt", 2),
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "memory.json", "report.html", "train.json",
    ]  # fmt: skip
    html = (tmp_path / "report.html").read_text()
    assert f"{row['ratio']:.2f}" in html
    assert all(f"{rows[k]['bytes'] / 2**20:.1f}" in html for k in (0, 1))


def test_curves_of_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--axes", "stream", "--rounds", "1", "--out", str(tmp_path), "--json"]
    assert run(["bench", "curves", *arguments]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((tmp_path / "curves.json").read_text()) == document
    rows = document["rows"]
    assert [(row["axis"], row["value"]) for row in rows] == [("stream", 1), ("stream", 8), ("stream", 64)]
    assert rows[1]["work"] == pytest.approx(8 * rows[0]["work"], rel=0.3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--nets", "Q"],
        ["train", "--batches", "x"],
        ["infer", "--against", "nest"],
        ["curves", "--axes", "colour"],
    ],
)
def test_bad_arguments(arguments: list[str], tmp_path: Path) -> None:
    assert run(["bench", *arguments, "--out", str(tmp_path)]) == 2
