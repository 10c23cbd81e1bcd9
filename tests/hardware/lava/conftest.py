"""Lava itself, or a skip that says how to get it (which fails where CI=true)."""

import pytest

from neurofdfa_hardware.lava import Environment, LavaError, locate
from neurofdfa_hardware.lava.environment import REMEDY


@pytest.fixture(scope="session")
def environment() -> Environment:
    try:
        found = locate()
    except LavaError as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip(f"Lava is not installed: {REMEDY}")
    return found
