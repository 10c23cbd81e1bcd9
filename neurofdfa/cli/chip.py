"""`neurofdfa map | parity | import | lower`: the chip's view of a network."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofdfa.cli.deploying import NETX_SUFFIXES, backend_record
from neurofdfa.cli.options import AsJson, Bits, Quiet, Run, UnusedSeed, emit, say, this_command
from neurofdfa.errors import UserError
from neurofdfa.lab.table import table

if TYPE_CHECKING:  # commands import what they need: --help must not wait for torch
    from neurofdfa_hardware.nir.network import Network
    from neurofdfa_hardware.quantization.report import QuantizeReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("map")(map_network)
    app.command()(parity)
    app.command("import")(import_file)
    app.command()(lower)


def map_network(
    run: Run,
    chip: Annotated[str, typer.Option(help="loihi1 or loihi2.")] = "loihi1",
    bits: Bits = 8,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Print every parameter's equation and rounding error.")
    ] = False,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Place the network of a run, or a .nir or .net file, on a chip's cores, or name the limit it breaks."""
    from neurofdfa.lab.chip import keep_placement, keep_refusal
    from neurofdfa.lab.deploy import deploy_run
    from neurofdfa_hardware.chip.mapping import CHIPS, picture, place
    from neurofdfa_hardware.commands import placement_document
    from neurofdfa_hardware.errors import HardwareError

    if chip not in CHIPS:
        raise UserError(f"unknown chip '{chip}': choose one of {', '.join(CHIPS)}")
    deployment, _ = deploy_run(run, bits)
    try:
        placement = place(deployment.program, chip)
    except HardwareError as error:
        keep_refusal(run, chip, str(error), bits, this_command())
        raise
    keep_placement(run, placement, bits, this_command())
    say(picture(placement), quiet)
    if parameters:
        _explain(deployment.network, deployment.quantized.report, quiet)
    emit(placement_document(placement, deployment.quantized.report, bits), as_json)


def _explain(network: "Network", report: "QuantizeReport | None", quiet: bool) -> None:
    """Every parameter: how it was read from the graph, and what of it the chip holds."""
    from neurofdfa_hardware.nir.graph import mapping_table
    from neurofdfa_hardware.quantization.report import rounding_table

    say(mapping_table(network), quiet)
    if report is not None:
        say("", quiet)
        say(rounding_table(report), quiet)


def parity(
    run: Run,
    limit: Annotated[int, typer.Option(min=1, help="Only the first N test samples.")] = 64,
    bits: Bits = 8,
    lava: Annotated[bool, typer.Option("--lava/--no-lava", help="Include real Lava.")] = False,
    loihi1: Annotated[bool, typer.Option("--loihi1", help="Include what Loihi 1 does otherwise.")] = False,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Follow spikes of a run, or a file on --data, from float to integers and Lava, to the first."""
    from neurofdfa.lab import deploy as lab
    from neurofdfa.lab.chip import keep_parity
    from neurofdfa_hardware.commands import parity_lines
    from neurofdfa_hardware.quantization.parity import parity as compare_stages

    deployment, data = lab.deploy_run(run, bits)
    test = data.open_test().select(slice(0, limit))
    spikes = lab.binary_inputs(data, test)
    record = backend_record("lava", deployment, spikes, quiet, states=True) if lava else None
    chip = "loihi1" if loihi1 else "lava"
    report = compare_stages(deployment.network, deployment.program, spikes, record, chip)
    say("\n".join(parity_lines(report)), quiet)
    labels = test.targets.numpy() if data.task == "classification" else None
    stages = keep_parity(run, report, labels, bits, this_command()).tree()["comparisons"]
    emit(
        {
            "stages": stages,
            "first_divergence": next((c["divergence"] for c in stages if c["divergence"]), None),
        },
        as_json,
    )


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .nir file, or lava-dl's .net, .hdf5, .h5.")],
    dt: Annotated[float | None, typer.Option(help="Step in seconds, where the file does not say it.")] = None,
    reset: Annotated[str | None, typer.Option(help="hard or soft, where the file does not say it.")] = None,
    writer: Annotated[str | None, typer.Option(help="Who wrote it: snntorch, norse or spikingjelly.")] = None,
    bits: Annotated[int | None, typer.Option(help="Also quantise, and show every rounding error.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Input spikes to quantise on, .npy [T, B, n]; else the golden input.")
    ] = None,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read a file as the chip would: explain every parameter of a NIR graph, check its golden vector."""
    from neurofdfa_hardware.commands import roundings
    from neurofdfa_hardware.nir.golden import check_golden
    from neurofdfa_hardware.nir.graph import load

    if writer not in (None, "norse", "snntorch", "spikingjelly"):
        raise UserError(f"unknown writer '{writer}': choose norse, snntorch or spikingjelly")
    if reset not in (None, "hard", "soft"):
        raise UserError(f"unknown reset '{reset}': choose hard or soft")
    if file.suffix in NETX_SUFFIXES:
        if (dt, reset, writer, bits, calibrate) != (None,) * 5:
            raise UserError(f"{file} holds integers, which say their dynamics: leave out --dt and the others")
        _import_netx(file, as_json, quiet)
        return
    network = load(file, dt, reset, writer=writer)
    report = None if bits is None else _quantise(network, bits, calibrate)
    _explain(network, report, quiet)
    golden = None if network.golden is None else check_golden(network).ok
    words = {
        True: "golden vector reproduced",
        False: "GOLDEN VECTOR DIFFERS",
        None: "no golden vector in the file",
    }
    say(f"{file}: {words[golden]}", quiet)
    layers = [{"name": layer.name, "neurons": layer.size} for layer in network.layers]
    parameters = {} if report is None else {"parameters": roundings(report)}
    emit({"file": str(file), "golden_ok": golden, "layers": layers} | parameters, as_json)


def _quantise(network: "Network", bits: int, calibrate: Path | None) -> "QuantizeReport":
    """Calibrate on a file of spikes, or on the golden input."""
    import numpy as np

    from neurofdfa_hardware.arrays import read_arrays
    from neurofdfa_hardware.quantization.quantize import quantize

    if calibrate is not None:
        if calibrate.suffix not in (".npy", ".npz"):
            raise UserError(f"{calibrate} is no .npy file of spikes, and no .npz file with an array 'spikes'")
        spikes = read_arrays(calibrate).get("spikes")
        if spikes is None:
            raise UserError(f"{calibrate} has no array 'spikes'")
    elif network.golden is not None:
        spikes = network.golden.input
    else:
        raise UserError("the file holds no golden input to find scales on: pass spikes with --calibrate")
    return quantize(network, bits, np.asarray(spikes != 0, np.uint8)).report


def _import_netx(file: Path, as_json: bool, quiet: bool) -> None:
    """Show the integers of a lava-dl file; such files carry no golden vector."""
    from neurofdfa_hardware.chip.kernel import entries
    from neurofdfa_hardware.chip.synapse import truncate
    from neurofdfa_hardware.netx import load

    program = load(file)
    titles = ["layer", "neurons", "du", "dv", "vth", "hears", "largest weight", "exponent"]
    rows: list[list[str]] = []
    layers: list[dict[str, Any]] = []
    for population in program.populations:
        heard = [c for c in program.connections if c.target == population.name]
        weights = [abs(truncate(entries(c.weight), c.num_weight_bits, c.sign_mode)).max() for c in heard]
        # a number, or a list of one per neuron
        numbers = {field: getattr(population, field).tolist() for field in ("du", "dv", "vth")}
        rows.append(
            [
                population.name,
                str(population.size),
                *(str(number) for number in numbers.values()),
                ", ".join(c.source for c in heard),
                ", ".join(str(weight) for weight in weights),
                ", ".join(str(c.weight_exp) for c in heard),
            ]
        )
        layers.append({"name": population.name, "neurons": population.size, **numbers})
    say(table(titles, rows, str(file)), quiet)
    emit({"file": str(file), "golden_ok": None, "layers": layers}, as_json)


def lower(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A learning rule by name.")],
    alpha: Annotated[float, typer.Option(help="Decay of the synaptic current per step.")] = 0.0,
    beta: Annotated[float, typer.Option(help="Decay of the membrane per step.")] = 0.8,
    kappa: Annotated[float, typer.Option(help="Decay of the readout per step.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Steps of a sample.")] = 16,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say which terms of a rule fit Loihi's learning engine, which only nearly (and how far), which not."""
    from neurofdfa_hardware.learning import Neurons
    from neurofdfa_hardware.learning import lower as lower_rule

    lowering = lower_rule(rule, Neurons(alpha, beta, kappa, steps))
    rows = [[term.term, term.fit, term.how, term.error or ""] for term in lowering.terms]
    say(table(["term", "fit", "on the chip", "how far off"], rows).rich(lines=True), quiet)
    for name in ("dw", "dt", "feedback_dw"):
        if getattr(lowering, name):
            say(f"{name} = {getattr(lowering, name)}", quiet)
    settings = ", ".join(f"{key}={value}" for key, value in (lowering.runs or {}).items())
    built = (
        "not built here" if lowering.runs is None else f"neurofdfa_hardware.learn, LearningRule({settings})"
    )
    say(f"{rule}: {lowering.fit}; {built}", quiet)
    emit(asdict(lowering) | {"fit": lowering.fit}, as_json)
