"""Graphs and files that are refused for how they are put together."""

import json

import nir
import numpy as np
import pytest

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.graph import load, network_from_graph
from tests.hardware.graphs import chain, lif, said


def test_wiring_that_makes_no_sense_is_refused():
    graph = chain(2, ("w", nir.Linear(np.eye(2))), ("n", lif(2)), n_out=2, metadata=said())
    graph.edges.append(("n", "nowhere"))
    with pytest.raises(HardwareError, match="names a node that does not exist"):
        network_from_graph(graph)
    graph.edges.pop()
    graph.nodes["alone"] = lif(2)
    with pytest.raises(HardwareError, match=r"nodes \['alone'\] are not reached"):
        network_from_graph(graph)
    del graph.nodes["alone"]
    graph.nodes["v"] = nir.Linear(np.eye(2))
    graph.edges += [("w", "v"), ("v", "w")]
    with pytest.raises(HardwareError, match="without a neuron between"):
        network_from_graph(graph)


def test_files_that_are_no_graphs_are_refused(tmp_path):
    with pytest.raises(HardwareError, match="there is no file"):
        load(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text(json.dumps({}))
    with pytest.raises(HardwareError, match="not a readable NIR file"):
        load(tmp_path / "text.nir")
