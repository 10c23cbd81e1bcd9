"""Run and demo folders as the lab writes them, with invented but plausible numbers.

The rasters come from a small LIF network, so that spikes, membranes and threshold agree with each other.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

RULES = ("readout-only", "dfa", "dkp", "fdfa", "bptt")
FINAL = {
    "digits": {"readout-only": 0.9583, "dfa": 0.9694, "dkp": 0.9722, "fdfa": 0.975, "bptt": 0.9778},
    "timing": {"readout-only": 0.431, "dfa": 0.779, "dkp": 0.931, "fdfa": 0.952, "bptt": 0.983},
}
VERSIONS = {
    "neurofdfa": "0.1.0",
    "python": "3.11.2",
    "torch": "2.13.0",
    "numpy": "2.4.6",
    "lava-nc": "0.10.0",
}
SAMPLES = {
    "digits": {"train": 1077, "validation": 360, "test": 360},
    "timing": {"train": 4000, "validation": 1000, "test": 1000},
}


def write_config(folder: Path, rule: str, data: str, seed: int = 0) -> None:
    (folder / "config.toml").write_text(
        f"""format = 2
seed = {seed}

[data]
name = "{data}"
encoder = "direct"

[network]
hidden = [128, 128]
tau_mem = 0.005
v_threshold = 1.0
reset = "hard"

[rule]
name = "{rule}"

[training]
epochs = 30
batch = 32
optimizer = "adam"
lr = 0.003
"""
    )


def epochs(rule: str, data: str, rng: np.random.Generator, count: int = 30) -> list[dict[str, object]]:
    final = FINAL[data].get(rule, 0.9)
    speed = {"bptt": 3.0, "fdfa": 4.0}.get(rule, 4.5) * (1 if data == "digits" else 2)
    lines: list[dict[str, object]] = []
    for k in range(count):
        reached = 0.1 + (final - 0.1) * (1 - np.exp(-(k + 1) / speed)) + rng.normal(0, 0.004)
        angle = np.array([0.35, 0.72]) * (1 - np.exp(-(k + 0.4) / 5)) + rng.normal(0, 0.01, 2)
        aligned = rule in ("fdfa", "dfa", "dkp")
        lines.append(
            {
                "epoch": k + 1,
                "seconds": 0.3 + 0.02 * float(rng.random()),
                "train_loss": float(2.3 * np.exp(-(k + 1) / speed) + 0.05),
                "train_accuracy": min(1.0, float(reached + 0.015)),
                "validation_loss": float(2.3 * np.exp(-(k + 1) / speed) + 0.11),
                "validation_accuracy": min(1.0, max(0.0, float(reached))),
                "rates": [0.06 + 0.02 * (1 - np.exp(-k / 6)), 0.05 + 0.01 * (1 - np.exp(-k / 4))],
                "psi_zero": [0.0, 0.02],
                "alignment": [float(a) for a in angle] if aligned else None,
                "alignment_std": [0.12, 0.08] if aligned else None,
            }
        )
    return lines


def lif(current: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and membranes [S, T, n] of a hard-reset LIF layer, θ = 1, β = 0.8."""
    drive = current @ weight
    u = np.zeros((drive.shape[0], drive.shape[2]))
    spikes, membranes = np.zeros_like(drive), np.zeros_like(drive)
    for t in range(drive.shape[1]):
        u = 0.8 * u * (1 - spikes[:, t - 1]) + drive[:, t] if t else drive[:, 0]
        spikes[:, t], membranes[:, t] = u > 1.0, u
    return spikes, membranes


def write_raster(
    folder: Path,
    rng: np.random.Generator,
    *,
    samples: int = 6,
    steps: int = 16,
    n_in: int = 64,
    hidden: tuple[int, ...] = (128, 128),
    classes: int = 10,
    graded: bool = False,
) -> None:
    if graded:
        pixels = load_digits().data[40 : 40 + samples, np.newaxis] / 16
        inputs = np.broadcast_to(pixels, (samples, steps, n_in)).astype(np.float32)
    else:
        inputs = (rng.random((samples, steps, n_in)) < 0.12).astype(np.uint8)
    arrays: dict[str, np.ndarray] = {"input": inputs}
    flow = inputs.astype(float)
    for layer, n in enumerate(hidden, 1):
        density = max(flow.mean(), 0.02) * flow.shape[2]
        flow, membrane = lif(flow, rng.normal(0, 0.36 / np.sqrt(density), (flow.shape[2], n)))
        arrays[f"layer{layer}"] = flow.astype(np.uint8)
        arrays[f"membrane{layer}"] = membrane.astype(np.float32)
    drive = flow @ rng.normal(0, 0.2, (hidden[-1], classes))
    labels = load_digits().target[40 : 40 + samples] if graded else rng.integers(0, classes, samples)
    drive[np.arange(samples), :, labels] += 0.35
    arrays["readout"] = drive.cumsum(1).astype(np.float32)
    arrays["label"] = labels
    predictions = labels.copy()
    predictions[2 % samples] = (labels[2 % samples] + 1) % classes
    arrays["prediction"] = predictions
    np.savez(folder / "raster.npz", **arrays)


def run_folder(folder: Path, rule: str = "fdfa", data: str = "digits", *, raster: bool = True) -> Path:
    """A finished run."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([sum(map(ord, rule)), len(data)])
    write_config(folder, rule, data)
    lines = epochs(rule, data, rng)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = demo_row(rule, data)
    (folder / "summary.json").write_text(
        json.dumps(
            {
                "rule": rule,
                "data": data,
                "seed": 0,
                "test_accuracy": row["test_accuracy"],
                "validation_accuracy": row["validation_accuracy"],
                "best_epoch": 27,
                "seconds": row["seconds"],
                "peak_mib": row["peak_mib"],
                "firing_rate": row["firing_rate"],
                "silent_neurons": [3, 0],
                "samples": SAMPLES[data],
                "command": f"neurofdfa train --data {data} --rule {rule} --out runs/{folder.name}",
                "versions": VERSIONS,
            }
        )
    )
    if raster and data == "digits":
        counts = np.diag(rng.integers(30, 37, 10)) + (rng.random((10, 10)) < 0.06)
        (folder / "confusion.json").write_text(json.dumps({"counts": counts.astype(int).tolist()}))
        write_raster(folder, rng, graded=True)
    elif raster:
        write_raster(folder, rng, steps=50, n_in=20, hidden=(64, 64), classes=20)
    return folder


def demo_row(rule: str, data: str) -> dict[str, object]:
    slow = {"bptt": 1.9, "fdfa": 1.3, "readout-only": 0.6}.get(rule, 1.0) * (1 if data == "digits" else 4)
    memory = (3.1 if rule != "bptt" else 11.8) * (1 if data == "digits" else 2.6)
    return {
        "rule": rule,
        "folder": f"{data}-{rule}",
        "test_accuracy": FINAL[data][rule],
        "validation_accuracy": FINAL[data][rule] + 0.004,
        "seconds": 6.2 * slow,
        "peak_mib": memory + 0.37 * len(rule),
        "firing_rate": [0.079, 0.061],
    }


def demo_folder(folder: Path, *, lava: bool = True, rasters: bool = True) -> Path:
    """A finished demo; without Lava it looks as on a machine that lacks it."""
    folder.mkdir(parents=True)
    for data in ("digits", "timing"):
        for rule in RULES:
            run_folder(folder / f"{data}-{rule}", rule, data, raster=rasters and rule == "fdfa")
    populations = (("layer1.neuron", 9412), ("layer2.neuron", 7093))
    demo: dict[str, object] = {
        "command": "neurofdfa demo --out runs/demo --seed 0",
        "versions": VERSIONS,
        "digits": [demo_row(rule, "digits") for rule in RULES],
        "timing": [demo_row(rule, "timing") for rule in RULES],
        "stages": [
            {"stage": "PyTorch float", "accuracy": 0.975, "samples": 360},
            {"stage": "8-bit weights, integer reference", "accuracy": 0.9722, "samples": 360},
        ],
        "parity": [],
        "lava": {"ok": False, "message": "no Python 3.10 with lava-nc was found", "seconds": None},
        "quantisation": [
            {
                "layer": "layer1",
                "bits": 8,
                "scale": 112.4,
                "saturated": 2,
                "weight_error": 0.0021,
                "spike_agreement": 0.9991,
                "firing_rate": 0.08,
            },
            {
                "layer": "layer2",
                "bits": 8,
                "scale": 97.1,
                "saturated": 0,
                "weight_error": 0.0025,
                "spike_agreement": 0.9984,
                "firing_rate": 0.06,
            },
            {
                "layer": "readout",
                "bits": 8,
                "scale": 88.0,
                "saturated": 0,
                "weight_error": 0.0028,
                "spike_agreement": None,
                "firing_rate": None,
            },
        ],
    }
    if lava:
        demo["stages"] = [
            *demo["stages"],  # type: ignore[misc]
            {"stage": "Lava, 8-bit fixed point", "accuracy": 0.96875, "samples": 64},
        ]
        demo["lava"] = {"ok": True, "message": "", "seconds": 21.4}
        demo["parity"] = [
            {
                "population": name,
                "samples": 64,
                "steps": 16,
                "spikes_reference": spikes,
                "spikes_lava": spikes,
                "differences": 0,
            }
            for name, spikes in populations
        ]
    (folder / "demo.json").write_text(json.dumps(demo))
    return folder
