"""`neurofdfa evaluate | export`: a trained run on other backends and in other formats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofdfa.cli.options import AsJson, Bits, Quiet, Run, UnusedSeed, emit, progress_bars, say
from neurofdfa.errors import UserError

if TYPE_CHECKING:  # commands import what they need: --help must not wait for torch
    from neurofdfa.data.dataset import Dataset
    from neurofdfa.lab.deploy import Deployment, Spikes
    from neurofdfa.nn.network import Network
    from neurofdfa_hardware.chip.program import Record

NETX_SUFFIXES = (".net", ".hdf5", ".h5")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(evaluate)
    app.command()(export)


def evaluate(
    run: Run,
    backend: Annotated[
        str, typer.Option(help="fixed-point (the chip's integers), lava, torch (floats), or another.")
    ] = "fixed-point",
    bits: Bits = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N test samples.")] = None,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Test accuracy of a run, or a .nir or .net file on --data, on the chip's integers, Lava or PyTorch."""
    from neurofdfa.lab.evaluation import evaluate as evaluate_float
    from neurofdfa.lab.load_run import open_run
    from neurofdfa_hardware.backends import DEFAULT, backend_names

    known = ("torch", *backend_names())
    if backend not in known:
        raise UserError(f"unknown backend '{backend}': choose one of {', '.join(known)}")
    config, network, data = open_run(run)
    test = data.open_test().select(slice(0, limit))
    result: dict[str, Any] = {"samples": len(test), "spikes_equal": None, "backend": backend}
    if backend == "torch":
        result["accuracy"] = evaluate_float(network, config, data, test).accuracy
    else:
        from neurofdfa.lab import deploy as lab

        deployment = lab.deploy(network, data, bits)
        spikes = lab.binary_inputs(data, test)
        record = reference = lab.run_reference(deployment, spikes)
        if backend != DEFAULT:
            record = backend_record(backend, deployment, spikes, quiet)
            rows = lab.compare(reference, record)
            result["spikes_equal"] = all(row.differences == 0 for row in rows) and lab.outputs_equal(
                reference, record
            )
        result["accuracy"] = lab.accuracy(deployment, record, test.targets.numpy())
        result["bits"] = bits
        for line in deployment.quantized.report.warnings():
            say(f"note: {line}", quiet)
    equal = {None: "", True: ", every spike equal to the integer reference", False: ", SPIKES DIFFER"}
    say(
        f"{backend}: {result['accuracy']:.2%} of {result['samples']} test samples"
        f"{equal[result['spikes_equal']]}",
        quiet,
    )
    emit(result, as_json)


def backend_record(
    backend: str, deployment: "Deployment", spikes: "Spikes", quiet: bool, states: bool = False
) -> "Record":
    """Run a backend with a bar that shows how far it is."""
    from neurofdfa.lab.deploy import run_backend

    with progress_bars(quiet) as bars:
        task = bars.add_task("real Lava" if backend == "lava" else backend, total=100, detail="")

        def show(done: float) -> None:
            bars.update(task, completed=int(100 * done))

        return run_backend(backend, deployment, spikes, show, states=states)


def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="File to write.")],
    to: Annotated[str, typer.Option(help="nir, or netx: lava-dl's HDF5, quantised.")] = "nir",
    bits: Bits = 8,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's network in an interchange format, and check that the file gives the same spikes."""
    from neurofdfa.lab.load_run import open_run

    writers = {"nir": _export_nir, "netx": _export_netx}
    if to not in writers:
        raise UserError(f"unknown format '{to}': choose nir or netx")
    if to == "netx" and out.suffix not in NETX_SUFFIXES:
        raise UserError(f"{out} is not named as a netx file: end it with one of {', '.join(NETX_SUFFIXES)}")
    if out.exists():
        raise UserError(f"{out} exists: name another file, or remove it")
    _, network, data = open_run(run)
    golden, checked = writers[to](network, data, out, bits)
    words = {True: f"{checked} reproduced", False: f"{checked} DIFFERS", None: f"no {checked} checked"}
    say(f"{out}: {words[golden]}", quiet)
    emit({"file": str(out), "golden_ok": golden}, as_json)


def _export_nir(network: "Network", data: "Dataset", out: Path, bits: int) -> tuple[bool | None, str]:
    """Whether the file, read back, gives its golden vector (None: it has none), and what was checked."""
    from neurofdfa.interop.nir import export_nir
    from neurofdfa_hardware.nir.golden import check_golden
    from neurofdfa_hardware.nir.graph import load

    x, _, _ = data.validation.first(8)
    spikes = bool(((x == 0) | (x == 1)).all())
    export_nir(network, out, x if spikes else None)
    hard = all(layer.neuron.reset == "hard" for layer in network.hidden)
    return (check_golden(load(out)).ok if spikes and hard else None), "golden vector"


def _export_netx(network: "Network", data: "Dataset", out: Path, bits: int) -> tuple[bool | None, str]:
    """Whether the file, read back, does on validation inputs what the integer reference does."""
    from neurofdfa.interop.nir import to_nir
    from neurofdfa.lab import deploy as lab
    from neurofdfa_hardware import netx
    from neurofdfa_hardware.chip.fixed_point import simulate
    from neurofdfa_hardware.nir.graph import network_from_graph
    from neurofdfa_hardware.quantization.quantize import quantize

    calibration = lab.binary_inputs(data, data.train.select(slice(0, lab.CALIBRATION_SAMPLES)))
    steps = lab.trained_steps(network, bits)
    graph = network_from_graph(to_nir(network))
    program = quantize(graph, bits, calibration, steps=steps, target="netx").program
    netx.save(program, out)
    spikes = lab.binary_inputs(data, data.validation.select(slice(0, 8)))
    ours, theirs = simulate(program, spikes), simulate(netx.load(out), spikes)
    same = all(row.differences == 0 for row in lab.compare(ours, theirs)) and lab.outputs_equal(ours, theirs)
    return same, "integer reference"
