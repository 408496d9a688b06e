"""Owns the job folder's file habits: JSON that is replaced whole, tolerant reading, the tail of a log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PESemiSegLib.atomic import BUSY_S, whole_file
from PESemiSegLib.plain import plain

PRIVATE = 0o600  # of files that may hold paths, and with them names
MAX_JSON_BYTES = 4 * 2**20
_TAIL_BYTES = 16 * 1024


def write_json(path: Path, value: Any, *, durable: bool = False, patience_s: float = BUSY_S) -> None:
    """Replace `path` by this JSON, whole or not at all, for its owner's eyes; `durable`: beyond a power cut.

    Raises OSError.
    """
    data = encode(json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    with whole_file(path, durable=durable, mode=PRIVATE, patience_s=patience_s) as aside:
        aside.write_bytes(data)


def encode(json_text: str) -> bytes:
    """JSON as UTF-8; of a file name that is not (on Linux any bytes may be one) JSON's own escapes remain."""
    return json_text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is none, or none that can be understood."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_JSON_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def tail(path: Path, lines: int = 20) -> tuple[str, ...]:
    """The last lines of a text file, whatever its bytes; empty where it cannot be read."""
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _TAIL_BYTES))
            text = handle.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    found = [line.rstrip() for line in text.splitlines() if line.strip()]
    return tuple(found[1:] if size > _TAIL_BYTES else found)[-lines:]
