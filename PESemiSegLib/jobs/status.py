"""Owns status.json: what a worker says of itself, and what may be believed of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from PESemiSegLib.atomic import sha256_of
from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.jobs.process import Identity

# Of the file: "starting" until the worker is at work, then "running", then an end. Seen from outside there
# are two more: "created" (never started) and "lost" (it began, and nobody answers any more).
STARTING, RUNNING = "starting", "running"
DONE, FAILED, CANCELLED, PAUSED = "done", "failed", "cancelled", "paused"
CREATED, LOST = "created", "lost"
ENDED = frozenset({DONE, FAILED, CANCELLED, PAUSED})
STATES = ENDED | {STARTING, RUNNING}
T = TypeVar("T")


@dataclass(frozen=True)
class ResultFile:
    """One finished file: its name under the job folder with "/" between folders, its size and SHA-256."""

    name: str
    bytes: int
    sha256: str

    def problem(self, folder: Path, *, deep: bool) -> str | None:
        """What is wrong with the file as it lies in `folder`; `deep` reads all of it."""
        path = folder / self.name
        try:
            size = path.stat().st_size
            if size != self.bytes:
                return f"the result {self.name} has {size} bytes, not {self.bytes}"
            if deep and sha256_of(path) != self.sha256:
                return f"the result {self.name} was changed or damaged after it was written"
        except OSError:
            return f"the result {self.name} is not there"
        return None


@dataclass(frozen=True)
class Status:
    """One reading of status.json. Times in seconds since 1970."""

    state: str = STARTING
    attempt: int = 1
    process: Identity | None = (
        None  # while starting what was launched, then the interpreter below any launcher
    )
    starter: Identity | None = None  # the program that started it
    heartbeat_s: float = 0.0
    began_s: float = 0.0
    ended_s: float | None = None
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    memory_mb: int | None = None
    stopping: bool = False  # the work itself has seen the request and is about to end
    message: str = ""
    exit_code: int | None = None
    results: tuple[ResultFile, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return {"format": 1} | asdict(self)

    def with_changes(self, **changes: Any) -> Status:
        """The same with some fields changed."""
        return replace(self, **changes)

    @property
    def fraction(self) -> float:
        """Share of the present stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


def read_status(path: Path) -> Status | None:
    """The status in a file; None where there is none, or one that makes no sense. Never raises."""
    raw = read_json(path)
    if raw is None or str(raw.get("state")) not in STATES:
        return None
    results = raw.get("results", [])
    files = [_result(item) for item in results] if isinstance(results, list) else [None]
    if None in files:
        return None
    return Status(
        state=str(raw["state"]),
        attempt=_typed(raw, "attempt", int, 1),
        process=Identity.from_dict(raw.get("process")),
        starter=Identity.from_dict(raw.get("starter")),
        heartbeat_s=_typed(raw, "heartbeat_s", _number, 0.0),
        began_s=_typed(raw, "began_s", _number, 0.0),
        ended_s=_typed(raw, "ended_s", _number, None),
        stage=_typed(raw, "stage", str, ""),
        done=_typed(raw, "done", int, 0),
        total=_typed(raw, "total", int, 0),
        seconds_left=_typed(raw, "seconds_left", _number, None),
        memory_mb=_typed(raw, "memory_mb", int, None),
        stopping=raw.get("stopping") is True,
        message=_typed(raw, "message", str, ""),
        exit_code=_typed(raw, "exit_code", int, None),
        results=tuple(file for file in files if file),
    )


def next_attempt(before: Status | None) -> int:
    """The number of a start after the one that `before` tells of."""
    return before.attempt + 1 if before else 1


def results_problem(folder: Path, results: tuple[ResultFile, ...], *, deep: bool) -> str | None:
    """What is wrong with the first damaged result; None when all are whole (with `deep`: byte for byte)."""
    found = (file.problem(folder, deep=deep) for file in results)
    return next((problem for problem in found if problem), None)


def _result(raw: object) -> ResultFile | None:
    if not isinstance(raw, dict):
        return None
    name, size, digest = raw.get("name"), raw.get("bytes"), raw.get("sha256")
    if not isinstance(name, str) or type(size) is not int or not isinstance(digest, str):
        return None
    inside = bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts
    return ResultFile(name, size, digest) if inside else None


def _number(value: Any) -> float:
    return float(value)


def _typed(raw: dict[str, Any], key: str, kind: Callable[[Any], T], default: Any) -> Any:
    """The value under `key` if it is of that kind and finite, else the default."""
    value = raw.get(key)
    wanted = (int, float) if kind is _number else kind
    if isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
        return default
    return kind(value) if not isinstance(value, float) or math.isfinite(value) else default
