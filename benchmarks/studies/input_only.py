"""The control of a study: what a linear readout on the spike counts of the input reaches on the same data.

    python benchmarks/studies/input_only.py studies/spoken-digits.toml --data-root FOLDER

Of four penalties the best on validation data counts; then the test split is opened. A study with tasks has a
line for each of them. The result has no seed: nothing is drawn.
"""

import argparse
from pathlib import Path

from neurofdfa.lab.build import build_data
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.study_file import read_study
from neurofdfa.measure.input_only import input_only


def main() -> None:
    """Print a line per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data-root", default=None)
    given = parser.parse_args()
    study = read_study(given.study)
    tasks = {name: task.settings for name, task in study.tasks.items()} or {study.name: {}}
    for name, settings in tasks.items():
        config = RunConfig().with_settings(study.base | settings)
        if given.data_root is not None:
            config = config.with_settings({"data.root": given.data_root})
        found = input_only(build_data(config.data, config.seed))
        tried = ", ".join(f"{strength:g}: {100 * share:.2f}" for strength, share in found.candidates)
        print(
            f"{name}: validation {100 * found.validation:.2f} %, test {100 * found.test:.2f} % "
            f"(inverse penalty {found.strength:g}; validation of each tried: {tried})"
        )


if __name__ == "__main__":
    main()
