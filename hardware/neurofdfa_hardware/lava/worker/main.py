"""Entry point of the worker: runs the jobs of a folder in Lava and reports on standard output.

Runs in Lava's own interpreter (Python 3.10, numpy 1.26) as `python main.py FOLDER`. One JSON object per
line goes out: `ready`, `progress`, `job`, `done`, `error`, `diagnosis`. Standard input is the lifeline: when
it closes, the driver is gone, and the worker ends its whole process group.
"""

import json
import sys
import time
import traceback
from pathlib import Path


def run_job(job, folder, guard, report):
    """Compile one job and step through it in chunks, so that every chunk is a sign of life."""
    import numpy as np
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from learning import LearningNetwork, run_learning
    from network import Network

    started = time.monotonic()
    with np.load(folder / job["arrays"]) as file:
        arrays = dict(file)
    learns = job["mode"] == "learning"
    network = (LearningNetwork if learns else Network)(job, arrays)
    network.host.create_runtime(run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    guard.watch(network)
    models = chosen_models(network)
    compiled = time.monotonic()

    def run(steps):
        network.host.run(condition=RunSteps(num_steps=steps))

    if learns:
        np.savez(folder / job["result"], **run_learning(job, arrays, network, run, report))
    elif job["clearing"] == "set":
        run_cleared(job, network, run, report)
    else:
        run_streamed(job, run, report)
    finished = time.monotonic()
    guard.release()
    network.host.stop()
    report(
        event="job",
        job=job["index"],
        models=models,
        compile_seconds=compiled - started,
        run_seconds=finished - compiled,
    )


def chosen_models(network):
    """Layer → class of the model that Lava selected; a float model here would be a silent wrong answer."""
    builders = network.host.runtime._executable.proc_builders
    names = network.layer_names()
    models = {names[process]: builder.proc_model.__name__ for process, builder in builders.items()}
    wrong = [name for name, model in models.items() if "Float" in model]
    if wrong:
        raise RuntimeError(f"Lava chose a floating-point model for {', '.join(wrong)}")
    return models


def run_streamed(job, run, report):
    """All samples in one stream of steps; chunks grow until one takes about half a second."""
    done, chunk = 0, 4
    while done < job["total_steps"]:
        chunk = min(chunk, job["total_steps"] - done)
        began = time.monotonic()
        run(chunk)
        done += chunk
        report(event="progress", job=job["index"], fraction=done / job["total_steps"])
        took = max(time.monotonic() - began, 1e-6)
        chunk = max(1, min(chunk * 4, int(chunk * 0.5 / took)))


def run_cleared(job, network, run, report):
    """One sample after the other with every state set to zero in between: recurrent and delayed networks."""
    stops = sorted({0, *job["clear_phases"]})
    for sample in range(job["samples"]):
        for i, phase in enumerate(stops):
            if sample or phase:
                network.clear(phase)
            following = stops[i + 1] if i + 1 < len(stops) else job["period"]
            run(following - phase)
        report(event="progress", job=job["index"], fraction=(sample + 1) / job["samples"])


def main():
    """Run every job of the folder."""
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(Path(__file__).parent))
    from supervise import Guard, Reporter

    request = json.loads((folder / "request.json").read_text())
    report = Reporter()
    guard = Guard(folder, request["shared_memory_prefix"], report)
    try:
        import lava.magma.core.run_conditions  # noqa: F401

        report(event="ready", python=sys.version.split()[0])
        for job in request["jobs"]:
            run_job(job, folder, guard, report)
        report(event="done")
    except BaseException as error:
        report(
            event="error",
            layer=None,
            message=f"{type(error).__name__}: {error}",
            trace=traceback.format_exc(),
        )
        guard.end_group()


if __name__ == "__main__":
    main()
