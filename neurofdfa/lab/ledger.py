"""What a sweep has to do and has done: one SQLite file, one row per trial, one process that writes.

Rows are written in transactions with a write-ahead log, synced to the disk: whatever kills the process, the
file is consistent and says what was finished. What a trial found is kept apart from what was measured on
this machine: `result` is the same whenever and wherever a trial runs, `measured` (time, memory) is not.
"""

import hashlib
import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from neurofdfa.errors import UserError
from neurofdfa.io import parse_json
from neurofdfa.lab.document import Record, Settings, Text, parse
from neurofdfa.lab.results import Measurement, RunResult

FORMAT = 1
NAME = "ledger.sqlite"
_COLUMNS = "number, hash, point, seed, settings, status, reason, result, measured, folder"
_TABLE = """
CREATE TABLE IF NOT EXISTS trials (
    number   INTEGER NOT NULL,
    hash     TEXT PRIMARY KEY,
    point    INTEGER NOT NULL,
    seed     INTEGER NOT NULL,
    settings TEXT NOT NULL,
    status   TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    reason   TEXT,
    result   TEXT,
    measured TEXT,
    folder   TEXT NOT NULL
) WITHOUT ROWID
"""


class Trial(Record):
    """One run of a sweep. hash: of what differs from the defaults in its config; point: index of its
    settings, shared by all seeds; settings: those that the sweep varies, dotted; folder: relative to the
    sweep's.
    """

    number: int
    hash: Text
    point: int
    seed: int
    settings: Settings
    folder: Text
    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    reason: Text | None = None
    result: RunResult | None = None
    measured: Measurement | None = None


class Ledger:
    """The ledger of one sweep; use it as a context manager. Raises `UserError` when the file is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        with self._errors():
            connection = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
        try:
            with self._errors():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version > FORMAT:
                    raise UserError(
                        f"{self.path} was written by a newer neurofdfa (format {version}): upgrade"
                    )
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        except UserError:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Whatever SQLite says, in one line."""
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
            raise UserError(f"{self.path} is not a usable ledger ({error}): choose another --out") from error

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._errors():
            return self._connection.execute(statement, values).fetchall()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def expect(self, trials: Sequence[Trial]) -> None:
        """Add trials that are not there yet; those that are keep their outcome and take the new number."""
        rows = [
            (t.number, t.hash, t.point, t.seed, canonical(t.settings), "waiting", None, None, None, t.folder)
            for t in trials
        ]
        with self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                f"INSERT INTO trials ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (hash) DO UPDATE SET "
                "number = excluded.number, point = excluded.point, settings = excluded.settings",
                rows,
            )

    def release(self, failed: bool = False) -> None:
        """What was running when the last process ended waits again; failed trials too when asked."""
        statuses = ("running", "failed") if failed else ("running",)
        marks = ", ".join("?" * len(statuses))
        self._execute(
            f"UPDATE trials SET status = 'waiting', reason = NULL WHERE status IN ({marks})", statuses
        )

    def start(self, trial: str) -> None:
        """A trial, by its hash, has begun."""
        self._execute("UPDATE trials SET status = 'running' WHERE hash = ?", (trial,))

    def finish(self, trial: str, result: RunResult, measured: Measurement) -> None:
        """A trial is done."""
        self._execute(
            "UPDATE trials SET status = 'done', reason = NULL, result = ?, measured = ? WHERE hash = ?",
            (canonical(result.tree()), canonical(measured.tree()), trial),
        )

    def fail(self, trial: str, reason: str) -> None:
        """A trial has no result, and why."""
        self._execute(
            "UPDATE trials SET status = 'failed', reason = ?, result = NULL, measured = NULL WHERE hash = ?",
            (reason, trial),
        )

    def trials(self) -> list[Trial]:
        """All trials in the sweep's order. Raises `UserError` where a row is damaged."""
        names = [name.strip() for name in _COLUMNS.split(",")]
        found = self._execute(f"SELECT {_COLUMNS} FROM trials ORDER BY number, hash")
        return [self._trial(dict(zip(names, row, strict=True))) for row in found]

    def _trial(self, row: dict[str, Any]) -> Trial:
        where = f"{self.path}, trial {row['number']}"
        for name in ("settings", "result", "measured"):
            if row[name] is not None:
                row[name] = parse_json(str(row[name]), f"{where}, {name}")
        if any(isinstance(value, bytes) for value in row.values()):
            raise UserError(f"{where}: bytes where text belongs: the file is damaged")
        trial = parse(Trial, row, where)
        if (trial.status == "done") != (trial.result is not None and trial.measured is not None):
            raise UserError(
                f"{where}: it is {trial.status}, and its result says otherwise: the file is damaged"
            )
        return trial

    def fingerprint(self) -> str:
        """Hash of everything that does not depend on the machine: equal for equal sweeps."""
        digest = hashlib.sha256()
        for t in self.trials():
            result = None if t.result is None else t.result.tree()
            row = [t.number, t.hash, t.point, t.seed, t.settings, t.status, t.reason, result, t.folder]
            digest.update(canonical(row).encode())
        return digest.hexdigest()


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
