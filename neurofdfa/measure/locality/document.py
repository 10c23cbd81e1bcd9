"""The certificate itself: a document for people, one for scripts, and an assertion for tests."""

import hashlib
import inspect
import sys
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, NamedTuple

from neurofdfa.train.trainer import Trainer


class NotLocal(AssertionError):
    """A rule read what a local rule cannot know."""


class Violation(NamedTuple):
    """layer: whose update moved; reads: the source; what: in words."""

    layer: str
    reads: str
    what: str


class LayerReads(NamedTuple):
    """A layer's update and the sources that moved it. learns: whether there was an update at all."""

    name: str
    learns: bool
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Certificate:
    """The verdict of one audit; code: SHA-256 of the source that ran and, after it, of the settings."""

    rule: str
    settings: str
    network: str
    inputs: str
    local_in_space: bool
    local_in_time: bool
    samples_independent: bool
    layers: tuple[LayerReads, ...]
    violations: tuple[Violation, ...]
    code: str

    @property
    def local(self) -> bool:
        """Local in space and in time, with samples on their own."""
        return not self.violations

    @property
    def settings_hash(self) -> str:
        """SHA-256 of the rule's settings and of the network's shape."""
        return hashlib.sha256(f"{self.settings}\n{self.network}".encode()).hexdigest()

    def require_local(self) -> None:
        """Raise `NotLocal` with the whole document unless the verdict is local; for tests."""
        if not self.local:
            raise NotLocal("\n" + self.to_text())

    def to_json(self) -> dict[str, Any]:
        """local, layers, reads, violations and what they hold for."""
        return {
            "local": self.local,
            "rule": self.rule,
            "local_in_space": self.local_in_space,
            "local_in_time": self.local_in_time,
            "samples_independent": self.samples_independent,
            "layers": [{"name": layer.name, "learns": layer.learns} for layer in self.layers],
            "reads": {layer.name: list(layer.reads) for layer in self.layers},
            "violations": [v._asdict() for v in self.violations],
            **{key: asdict(self)[key] for key in ("settings", "network", "inputs")},
            "code_sha256": self.code,
            "settings_sha256": self.settings_hash,
        }

    def to_text(self) -> str:
        """The same for people, in plain text."""
        words = {True: "yes", False: "NO"}
        verdicts = (
            f"in space: {words[self.local_in_space]}   in time: {words[self.local_in_time]}   "
            f"samples apart: {words[self.samples_independent]}"
        )
        lines = [
            f"Locality certificate: {self.rule} is {'local' if self.local else 'NOT local'}",
            f"  {verdicts}",
            f"  network   {self.network}",
            f"  inputs    {self.inputs}",
            f"  settings  {self.settings}",
            f"  code      sha256 {self.code}",
            f"  settings  sha256 {self.settings_hash}",
            "Each layer's update moves with:",
        ]
        for layer in self.layers:
            read = ", ".join(layer.reads) if layer.learns else "(no update)"
            lines.append(f"  {layer.name:<10}{read}")
        if self.violations:
            lines.append("It must not, but it reads:")
            lines += [f"  {v.layer:<10}{v.reads}: {v.what}" for v in self.violations]
        return "\n".join(lines) + "\n"


REGISTRY = "neurofdfa.rules"


def code_hash(learner: Trainer) -> str:
    """SHA-256 of the modules that define the learner, its rule and trace, and what these import of us, but
    for the list of all rules.
    """
    parts: list[Any] = [learner, learner.executor, learner.rule, learner.rule.trace]
    names = {kind.__module__ for part in parts for kind in type(part).__mro__}
    waiting, seen = sorted(names), set[str]()
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        ours = name in names or (name.startswith("neurofdfa") and name != REGISTRY)
        if name in seen or module is None or not ours:
            continue
        seen.add(name)
        waiting += sorted({_home(value) for value in vars(module).values()} - seen)
    digest = hashlib.sha256()
    for name in sorted(seen - {"builtins", "typing", "abc"}):
        digest.update(f"{name}\n{_source(sys.modules[name])}\n".encode())
    return digest.hexdigest()


def _home(value: Any) -> str:
    home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return home if isinstance(home, str) else ""


def _source(module: ModuleType) -> str:
    """A module's text; typed in at a prompt it has none."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""
