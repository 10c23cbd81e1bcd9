"""What keeps the worker from outliving its purpose: a layer's death and the driver's death are both noticed.

Lava's `run()` waits for ever when a model raises or is killed, and its parent's death orphans the rest, so a
thread watches every Lava process and the lifeline (standard input), and ends the whole group itself.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from multiprocessing import shared_memory
from pathlib import Path

PR_SET_PDEATHSIG = 1


class Reporter:
    """Writes one JSON object per line to the driver; a driver that is gone is no reason to raise."""

    def __init__(self):
        self.lock = threading.Lock()
        self.stream = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # whatever Lava prints goes to the log

    def __call__(self, **message):
        """Send one message; `event` says what it is."""
        with self.lock, contextlib.suppress(OSError):
            self.stream.write(json.dumps(message) + "\n")


class Guard:
    """Watches the lifeline and, between `watch` and `release`, every process of a Lava runtime."""

    def __init__(self, folder, prefix, report):
        self.folder, self.prefix, self.report = folder, prefix, report
        self.parent, self.group = os.getppid(), os.getpgrp()
        self.actors = {}
        name_shared_memory(prefix)
        os.register_at_fork(after_in_child=die_with_parent)
        threading.Thread(target=self._watch, daemon=True).start()

    def watch(self, network):
        """Start watching the processes of this network's runtime, in the order Lava started them."""
        names = network.layer_names()
        started = [names[process] for process in network.host.runtime._executable.proc_builders]
        actors = network.host.runtime._messaging_infrastructure.actors
        labels = started + [f"Lava's runtime service {i}" for i in range(len(actors) - len(started))]
        self.actors = dict(zip(labels, actors, strict=True))

    def release(self):
        """Stop watching: the processes are about to end as they should."""
        self.actors = {}

    def _watch(self):
        while True:
            try:
                self._listen(0.1)
                for name, actor in list(self.actors.items()):
                    self._check(name, actor)
            except (ValueError, AssertionError):
                continue  # an actor that was closed while being looked at, after release()

    def _listen(self, seconds):
        if os.getppid() != self.parent:
            self.end_group(orphaned=True)
        readable, _, _ = select.select([0], [], [], seconds)
        if readable:
            command = os.read(0, 4096)
            if not command:
                self.end_group(orphaned=True)
            if b"diagnose" in command:
                self.report(event="diagnosis", suspects=suspects(self.actors))

    def _check(self, name, actor):
        if actor.is_alive():
            return
        time.sleep(0.05)
        if name not in self.actors:
            return
        raised = actor._pconn.recv() if actor._pconn.poll() else None
        if raised:
            error, trace = raised
            self.report(event="error", layer=name, message=f"{type(error).__name__}: {error}", trace=trace)
        else:
            code = actor.exitcode
            how = (
                f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"exited with {code}"
            )
            self.report(event="died", layer=name, message=how)
        self.end_group()

    def end_group(self, orphaned=False):
        """Kill every process of this group, this one last; take the shared memory along."""
        for process in members(self.group) - {os.getpid()}:
            os.kill(process, signal.SIGKILL)
        remove_shared_memory(self.prefix)
        if orphaned:
            shutil.rmtree(self.folder, ignore_errors=True)
        sys.stderr.flush()
        os.killpg(self.group, signal.SIGKILL)


def members(group):
    """Ids of the living processes of a process group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (OSError, ValueError):
            continue  # it ended while being looked at
        if int(its_group) == group and state != "Z":
            found.add(int(stat.parent.name))
    return found


def name_shared_memory(prefix):
    """Give this run's shared-memory segments a prefix of its own, so that they can be found and removed."""
    if hasattr(shared_memory, "_SHM_NAME_PREFIX") and hasattr(shared_memory, "_SHM_SAFE_NAME_LENGTH"):
        shared_memory._SHM_NAME_PREFIX = "/" + prefix
        shared_memory._SHM_SAFE_NAME_LENGTH = len(prefix) + 13


def remove_shared_memory(prefix):
    """Unlink the segments of this run."""
    for segment in Path("/dev/shm").glob(prefix + "*"):
        segment.unlink(missing_ok=True)


def die_with_parent():
    """In every forked child: when the worker dies, however it dies, so does the child."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the group kill and the lifeline remain
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def suspects(actors):
    """Names of the processes that are not merely waiting for another: stopped, or busy."""
    found = {}
    for name, actor in actors.items():
        try:
            state = Path(f"/proc/{actor.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError):
            continue
        if state in "TtRD":
            found[name] = {"T": "stopped", "t": "stopped", "R": "busy", "D": "waiting for a disk"}[state]
    return found
