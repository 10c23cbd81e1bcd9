"""The report of a demo folder: one page that reads like a paper's result section."""

from neurofdfa.lab.record import RunFolder
from neurofdfa.lab.results import Form
from neurofdfa.report import deployment, learning, tasks, words
from neurofdfa.report.page import Block, KeyFigure, Page, Prose, Section, footer, provenance
from neurofdfa.report.raster import read_raster
from neurofdfa.report.tasks import DemoFolder, Task
from neurofdfa.report.viewer import viewer
from neurofdfa.rules import CONTROL, DEFAULT, EXACT, RANDOM, rule_title


def demo_page(demo: DemoFolder) -> Page:
    """Compose the page; a part without data is left out."""
    ours = [(t, row.run) for t in demo.tasks if (row := t.row(DEFAULT.name)) and row.run]
    return Page(
        title="neurofdfa: demo",
        kicker="neurofdfa demo",
        headline=headline(demo),
        summary=_summary(demo),
        key_figures=tuple(_key_figures(demo)),
        sections=(
            Section("From float to chip", tuple(deployment.stage_accuracy(demo.found.stages))),
            Section("The rules side by side", tuple(_rules(demo))),
            Section("Learning curves", tuple(learning.learning_curves(demo.tasks))),
            Section(f"Alignment with {EXACT.title}", tuple(_alignment(ours))),
            Section("Inside the network", tuple(_viewers(demo))),
            Section("Firing and memory", tuple(_firing_and_memory(demo, ours))),
            Section("Lava, spike for spike", tuple(_lava(demo))),
            Section("How it was made", tuple(_provenance(demo))),
        ),
        footer=footer(demo.folder),
    )


def headline(demo: DemoFolder) -> str:
    """The result in one sentence, from whatever was measured."""
    digits = demo.task("digits")
    ours, exact = _accuracy(digits, DEFAULT.name), _accuracy(digits, EXACT.name)
    if ours is None:
        return "A comparison of learning rules for spiking networks"
    said = f"Trained online with {DEFAULT.title}, a spiking network reads "
    said += f"{words.percent(ours)} of unseen handwritten digits"
    if exact is not None:
        said += f", {_against(ours - exact)} {EXACT.title}"
    quantised = _stage(demo, "integer")
    if quantised is not None and quantised.accuracy is not None:
        said += f"; in 8\u2011bit integers it reads {words.percent(quantised.accuracy)}"
        verdict = deployment.parity_verdict(demo.found.parity)
        if verdict is not None:
            said += ", and on Lava " + ("every spike is the same" if verdict[0] else "some spikes differ")
    return said + "."


def _summary(demo: DemoFolder) -> str:
    timing = demo.task("timing")
    ranked = (CONTROL.name, RANDOM.name, DEFAULT.name, EXACT.name)
    values = [(rule_title(rule), _accuracy(timing, rule)) for rule in ranked]
    known = [f"{name} {words.percent(value)}" for name, value in values if value is not None]
    if len(known) < 2:
        return ""
    return (
        "Digits hardly rank learning rules. On a task where only the timing of spikes carries the answer, "
        f"they come apart: {words.listed(known)}."
    )


def _key_figures(demo: DemoFolder) -> list[KeyFigure]:
    figures: list[KeyFigure] = []
    digits = demo.task("digits")
    row = digits.row(DEFAULT.name) if digits else None
    if row and row.test_accuracy is not None:
        time = f", after {words.seconds(row.seconds)} of training" if row.seconds is not None else ""
        figures.append(
            KeyFigure(words.percent(row.test_accuracy), f"of test digits right with {DEFAULT.title}{time}")
        )
    ours, exact = _accuracy(demo.task("timing"), DEFAULT.name), _accuracy(demo.task("timing"), EXACT.name)
    if ours is not None:
        beside = f"; {EXACT.title} {words.percent(exact)}" if exact is not None else ""
        figures.append(KeyFigure(words.percent(ours), f"on spike timing with {DEFAULT.title}{beside}"))
    quantised = _stage(demo, "integer")
    if quantised is not None and quantised.accuracy is not None:
        figures.append(
            KeyFigure(words.percent(quantised.accuracy), "of test digits right with 8\u2011bit weights")
        )
    verdict = deployment.parity_verdict(demo.found.parity)
    if verdict is not None:
        number = words.count(sum(p.differences or 0 for p in demo.found.parity))
        spikes = words.count(sum(p.spikes_reference or 0 for p in demo.found.parity))
        figures.append(
            KeyFigure(number, f"differences in {spikes} spikes on Lava", "good" if verdict[0] else "bad")
        )
    return figures


def _rules(demo: DemoFolder) -> list[Block]:
    blocks = tasks.accuracy_plots(demo.tasks) + tasks.tables(demo.tasks)
    sentences = [_gap(task) for task in demo.tasks]
    text = " ".join(sentence for sentence in sentences if sentence)
    return [Prose(text), *blocks] if text else blocks


def _gap(task: Task) -> str:
    ours, exact, control = (_accuracy(task, rule) for rule in (DEFAULT.name, EXACT.name, CONTROL.name))
    if ours is None:
        return ""
    parts = [f"{_against(ours - exact)} {EXACT.title}"] if exact is not None else []
    parts += [f"{_against(ours - control)} a trained readout alone"] if control is not None else []
    return f"On {task.title.lower()}, {DEFAULT.title} is {words.listed(parts)}." if parts else ""


def _alignment(ours: list[tuple[Task, RunFolder]]) -> list[Block]:
    blocks = learning.alignment(_titled(ours))
    said = [
        f"{angles} on {task.title.lower()}" for task, run in ours if (angles := learning.last_angles(run))
    ]
    sentence = f"At the end of training the update of {DEFAULT.title} stands at {'; '.join(said)}."
    return [Prose(sentence), *blocks] if blocks and said else blocks


def _titled(ours: list[tuple[Task, RunFolder]]) -> list[tuple[str, RunFolder]]:
    return [(f"{task.title}, {DEFAULT.title}", run) for task, run in ours]


def _viewers(demo: DemoFolder) -> list[Block]:
    blocks: list[Block] = []
    for task in demo.tasks:
        shown = sorted((row for row in task.rows if row.run), key=lambda row: row.rule != DEFAULT.name)
        for row in shown:
            raster = read_raster(row.run.folder) if row.run else None
            if row.run and raster is not None:
                blocks.append(
                    viewer(
                        raster,
                        key=f"viewer-{task.name}",
                        title=f"{task.title}, {rule_title(row.rule)}",
                        v_threshold=row.run.config.network.v_threshold,
                        data_name=row.run.data,
                    )
                )
                break
    return blocks


def _firing_and_memory(demo: DemoFolder, ours: list[tuple[Task, RunFolder]]) -> list[Block]:
    return learning.firing_rates(_titled(ours)) + tasks.memory_plots(demo.tasks)


def _lava(demo: DemoFolder) -> list[Block]:
    return deployment.parity_section(demo.found.parity, demo.found.lava) + deployment.quantisation_table(
        demo.found.quantisation
    )


def _provenance(demo: DemoFolder) -> list[Block]:
    configs = [
        (f"{task.title}, {rule_title(row.rule)}", row.run)
        for task in demo.tasks
        for row in task.rows
        if row.run
    ]
    return provenance(demo.found.command, demo.found.versions, configs, folded=True)


def _accuracy(task: Task | None, rule: str) -> float | None:
    row = task.row(rule) if task else None
    return row.test_accuracy if row else None


def _stage(demo: DemoFolder, word: str) -> Form | None:
    return next((stage for stage in demo.found.stages if word in stage.stage), None)


def _against(difference: float) -> str:
    if abs(difference) < 0.0005:
        return "level with"
    return f"{words.points(difference)} {'above' if difference > 0 else 'below'}"
