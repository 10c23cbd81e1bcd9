"""No network at import, no pickle anywhere, nothing that executes what a file says."""

import ast
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    file
    for package in ("neurofdfa", "hardware/neurofdfa_hardware")
    for file in sorted((ROOT / package).rglob("*.py"))
    if "lava/worker" not in file.as_posix()  # runs in Lava's own environment, on files of our own
]
IMPORTS = """
import importlib, pkgutil, socket, sys

def blocked(*_, **__):
    raise SystemExit("opened a socket")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = blocked
import neurofdfa, neurofdfa_hardware
count = 0
ASKED_FOR = ("tonic", "norse", "snntorch", "spikingjelly", "optuna", "ray", "tensorboard")
for package in (neurofdfa, neurofdfa_hardware):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".worker" in module.name or module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
        count += 1
loaded = [name for name in ASKED_FOR if name in sys.modules]
assert not loaded, loaded
print(count)
"""


def test_no_module_opens_a_socket_when_it_is_imported() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 200


@pytest.mark.calls_elsewhere(reason="it tries to")
@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_neither_tests_nor_what_they_start_reach_another_machine(host: str) -> None:
    call = f"import socket; socket.create_connection(({host!r}, 80), 5)"
    found = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    assert f"tests reach no network, and this calls '{host}'" in found.stderr
    with pytest.raises(OSError, match="tests reach no network"):
        socket.create_connection((host, 80), 5)


def test_this_machine_is_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), 5) as there,
    ):
        assert there.getpeername() == server.getsockname()


PERMISSIVE = re.compile(r"BSD|MIT|Apache|Python Software Foundation|PSF|MPL-2\.0", re.IGNORECASE)


def licence(package: str) -> str:
    found = metadata(package)
    classes = [c for c in found.get_all("Classifier", []) if c.startswith("License ::")]
    return " ".join([found.get("License-Expression", ""), *classes, (found.get("License") or "")[:60]])


def test_what_is_needed_to_run_is_under_permissive_licences() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split(r"[><=!~\[ ]", line)[0] for line in project["dependencies"]]
    assert len(needed) > 10
    for name in needed:
        assert PERMISSIVE.search(licence(name)), f"{name}: {licence(name)}"
        assert "General Public" not in licence(name), name


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def dangerous(text: str) -> list[str]:
    """Calls and imports by which a file could make the program execute what stands in it."""
    tree = ast.parse(text)
    found: list[str] = []
    for name, call in calls(tree):
        plain = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in ("eval", "exec", "compile", "torch.load", "joblib.load", "yaml.load", "marshal.loads"):
            found.append(name)
        if name in ("np.load", "numpy.load") and plain.get("allow_pickle") != "False":
            found.append(f"{name} that may unpickle")
        if name.startswith("subprocess.") and plain.get("shell") == "True":
            found.append(f"{name} through a shell")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in ("pickle", "cPickle", "dill", "shelve")]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_or_executed(file: Path) -> None:
    assert dangerous(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from pickle import loads", "np.load(path)", "np.load(p, allow_pickle=True)", "eval(x)",
     "torch.load(path)", "subprocess.run(line, shell=True)"],
)  # fmt: skip
def test_what_would_be_dangerous_is_noticed(text: str) -> None:
    assert dangerous(text)
