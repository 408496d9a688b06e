"""Owns events.jsonl: one JSON object per line, appended by the worker, read as it grows by any program."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from PESemiSegLib.jobs.files import PRIVATE, encode
from PESemiSegLib.plain import plain

_CHUNK_BYTES = 256 * 1024

Event = dict[str, Any]
"""`kind`, `t` (seconds since 1970) and the values of that kind."""


class EventWriter:
    """Appends events. A full disk costs events, never the job: what does not fit is dropped and counted."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._torn = _ends_torn(path)
        self.dropped = 0

    def write(self, kind: str, **values: Any) -> None:
        """Append one event, as one write, so that two processes never mix their lines."""
        event = {"t": round(time.time(), 3), "kind": kind, **plain(values)}
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
        with self._lock:
            data = encode(line)
            if self._torn:
                data = b"\n" + data
            self._torn = not self._append(data)
            self.dropped += self._torn

    def _append(self, data: bytes) -> bool:
        """Whether all of it was written."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            handle = os.open(self._path, flags, PRIVATE)
        except OSError:
            return False
        try:
            return os.write(handle, data) == len(data)
        except OSError:
            return False
        finally:
            os.close(handle)


class EventReader:
    """Reads whole lines as they come. A line that was torn by a crash is skipped and counted.

    Args:
        path: the file, which may not exist yet.
        at_end: leave out what is there already.
    """

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path, self._offset = path, _size(path) if at_end else 0
        self._in_long_line = False
        self.skipped = 0

    def read(self) -> list[Event]:
        """The events of at most 256 KiB that were not read before; empty where there is nothing new."""
        try:
            with self._path.open("rb") as handle:
                if handle.seek(0, os.SEEK_END) < self._offset:  # begun anew by someone
                    self._offset = 0
                handle.seek(self._offset)
                data = handle.read(_CHUNK_BYTES)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) == _CHUNK_BYTES:  # no event is that long: damage, to be passed over
                self._offset += len(data)
                self._in_long_line = True
            return []
        self._offset += end
        lines = data[:end].split(b"\n")
        if self._in_long_line:
            lines, self._in_long_line = lines[1:], False
            self.skipped += 1
        return [event for line in lines if line.strip() and (event := self._parsed(line)) is not None]

    def _parsed(self, line: bytes) -> Event | None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and isinstance(event.get("kind"), str):
            return event
        self.skipped += 1
        return None


def _ends_torn(path: Path) -> bool:
    """Whether the file's last line has no end, as a killed worker leaves it."""
    try:
        with path.open("rb") as handle:
            if handle.seek(0, os.SEEK_END) == 0:
                return False
            handle.seek(-1, os.SEEK_END)
            return handle.read(1) != b"\n"
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
