"""What the command lines do with a file: place it, run it, follow its spikes; nothing is printed here."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurofdfa_hardware.backends import DEFAULT, Progress, backend
from neurofdfa_hardware.chip.fixed_point import predict
from neurofdfa_hardware.chip.mapping import Placement, picture, place
from neurofdfa_hardware.chip.program import Chip, Record
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.files import Deployed, Inputs
from neurofdfa_hardware.quantization.parity import ParityReport, parity
from neurofdfa_hardware.quantization.report import QuantizeReport


@dataclass(frozen=True)
class Outcome:
    """A command's result: `document` for scripts, `text` for people."""

    document: dict[str, Any]
    text: str


def map_file(deployed: Deployed, chip: str, bits: int) -> Outcome:
    """Place the program on the cores of a chip; raises `HardwareError` for the limit that it breaks."""
    placement = place(deployed.program, chip)
    return Outcome(placement_document(placement, deployed.report, bits), picture(placement))


def placement_document(placement: Placement, report: QuantizeReport | None, bits: int) -> dict[str, Any]:
    """Cores, what they are filled with, the chip's limits, and every parameter's rounding."""
    document = placement.to_json()
    return {
        "cores": len(placement.cores),
        "utilisation": placement.utilisation,
        "limits": document["chip"],
        "layers": placement.cores_by_layer(),
        "loads": document["cores"],
        "bits": bits,
        "parameters": [] if report is None else roundings(report),
    }


def roundings(report: QuantizeReport) -> list[dict[str, Any]]:
    """Every parameter: what it was, what the chip holds of it, and how far that is off."""
    return [asdict(row) | {"error": row.error} for layer in report.layers for row in layer.roundings]


def run_file(deployed: Deployed, inputs: Inputs, name: str, progress: Progress | None = None) -> Record:
    """Run a backend by name on all inputs."""
    return backend(name).compile(deployed.program).run(inputs.spikes, progress=progress)


def describe_run(deployed: Deployed, inputs: Inputs, record: Record, name: str, out: Path | None) -> Outcome:
    """Spikes of every population and the class of every sample; `out`: also all spikes, as an .npz file."""
    classes = predict(deployed.program, record)
    counts = {key: int(np.count_nonzero(spikes)) for key, spikes in record.spikes.items()}
    if out is not None:
        if not out.parent.is_dir():
            raise HardwareError(f"cannot write {out}: there is no folder {out.parent}")
        partial = out.with_suffix(".tmp.npz")
        np.savez_compressed(partial, output_v=record.output_v, predictions=classes, **record.spikes)  # pyright: ignore[reportArgumentType]
        partial.replace(out)
    steps, samples, _ = inputs.spikes.shape
    shown = ", ".join(f"{key} {count}" for key, count in counts.items())
    return Outcome(
        {
            "backend": name,
            "steps": steps,
            "samples": samples,
            "spikes": counts,
            "predictions": classes.tolist(),
            "out": None if out is None else str(out),
        },
        f"{name}: {samples} samples of {steps} steps; spikes: {shown}\nclasses: {classes.tolist()}",
    )


def evaluate_file(
    deployed: Deployed, inputs: Inputs, name: str, bits: int, progress: Progress | None = None
) -> Outcome:
    """Share of samples whose class is the label; another backend is compared with the integer reference."""
    if inputs.labels is None:
        raise HardwareError(
            "the data holds no labels to compare with: store them as 'labels' in an .npz file"
        )
    record = run_file(deployed, inputs, name, progress)
    equal: bool | None = None
    if name != DEFAULT:
        equal = same_record(run_file(deployed, inputs, DEFAULT), record)
    accuracy = float((predict(deployed.program, record) == inputs.labels).mean())
    words = {None: "", True: ", every spike equal to the integer reference", False: ", SPIKES DIFFER"}[equal]
    return Outcome(
        {
            "accuracy": accuracy,
            "samples": len(inputs.labels),
            "spikes_equal": equal,
            "backend": name,
            "bits": bits,
        },
        f"{name}: {accuracy:.2%} of {len(inputs.labels)} samples{words}",
    )


def same_record(ours: Record, theirs: Record) -> bool:
    """Whether two backends gave the same spikes and the same membrane of the output."""
    return bool(np.array_equal(ours.output_v, theirs.output_v)) and all(
        np.array_equal(spikes, theirs.spikes[name]) for name, spikes in ours.spikes.items()
    )


def parity_file(deployed: Deployed, inputs: Inputs, lava: Record | None, chip: Chip = "lava") -> Outcome:
    """All stages from float to integers (and Lava's record), and the first spike that differs."""
    report = parity(deployed.network, deployed.program, inputs.spikes, lava, chip)
    stages = report.to_json()["comparisons"]
    accuracy: dict[str, float] = {}
    if inputs.labels is not None:
        accuracy = {
            name: float((np.array(p) == inputs.labels).mean()) for name, p in report.predictions.items()
        }
    first = next((c["divergence"] for c in stages if c["divergence"]), None)
    return Outcome(
        {"stages": stages, "first_divergence": first, "accuracy": accuracy}, "\n".join(parity_lines(report))
    )


def parity_lines(report: ParityReport) -> list[str]:
    """A line per pair of stages: how many spikes are equal, and the first that is not."""
    lines: list[str] = []
    for row in report.comparisons:
        head = f"{row.before} → {row.after}: {row.spikes_equal / max(row.spikes, 1):.4%} of spikes equal, "
        head += f"all of them in {row.samples_equal} of {row.samples} samples, "
        head += f"the same class in {row.same_prediction:.1%}; "
        first = row.divergence
        if first is None:
            lines.append(head + "none differs")
        else:
            fired = row.before if first.spike_before else row.after
            lines.append(
                f"{head}the first to differ is at sample {first.sample}, step {first.step}, "
                f"{first.layer}[{first.neuron}], which fired in {fired} only"
            )
    return lines
