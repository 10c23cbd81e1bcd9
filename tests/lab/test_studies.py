"""Every shipped study can be read, and every run it spans can be built."""

from pathlib import Path

import pytest

from neurofdfa.lab.build import build_network, build_trainer
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.study_file import read_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))


def test_there_are_some() -> None:
    assert len(STUDIES) >= 7


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_point_of_a_shipped_study_can_be_built(path: Path) -> None:
    study = read_study(path)
    points = study.points()
    assert len(points) >= 4
    for settings in points:
        config = RunConfig().with_settings(study.settings(settings))
        build_trainer(config, build_network(config.network, 64, 10, config.seed, shape=(1, 8, 8)))
