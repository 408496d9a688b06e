"""Owns the job folder's file habits: JSON that is replaced whole, tolerant reading, the tail of a log."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

MAX_JSON_BYTES = 4 * 2**20
_TAIL_BYTES = 16 * 1024
_BUSY_RETRY_S = 0.5  # Windows refuses to replace a file that someone has open, for as long as they read
T = TypeVar("T")


def write_json(path: Path, value: Any, *, durable: bool = False, patience_s: float = _BUSY_RETRY_S) -> None:
    """Replace `path` by this JSON, whole or not at all; `durable`: beyond a power cut. Raises OSError."""
    data = (json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with aside.open("wb") as handle:
            handle.write(data)
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        while_busy(lambda: os.replace(aside, path), patience_s)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is none, or none that can be understood."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_JSON_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def while_busy(act: Callable[[], T], patience_s: float = _BUSY_RETRY_S) -> T:
    """`act()`, again for a moment where Windows says that another program has the file open."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return act()
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


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


def plain(value: Any) -> Any:
    """Plain JSON types: paths and unknown things become text, numbers of NumPy Python's, NaN None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, torch's tensors
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
