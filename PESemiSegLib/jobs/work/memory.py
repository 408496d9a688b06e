"""Owns the question how much memory this computer has and how much of it is free."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_GIB = 2**30


def system_memory_gib() -> tuple[float | None, float | None]:
    """(total, free) in GiB, rounded to 0.1; a container's limit counts as total. None where unknown."""
    if os.name == "nt":
        total, free = _windows()
    else:
        total, free = _proc()
        if total is None:
            total = _sysconf()
    if (limit := _container_limit()) is not None and (total is None or limit < total):
        total, free = limit, None if free is None else min(free, limit)
    return _rounded(total), _rounded(free)


def _proc() -> tuple[float | None, float | None]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None, None
    values = {line.split(":")[0]: 1024.0 * int(line.split()[1]) for line in lines if len(line.split()) > 1}
    return values.get("MemTotal"), values.get("MemAvailable")


def _container_limit() -> float | None:
    try:
        return float(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return None  # "max": no limit


def _sysconf() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None


def _windows() -> tuple[float | None, float | None]:
    class Memory(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    memory = Memory(size=ctypes.sizeof(Memory))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(memory)):  # type: ignore[attr-defined]
        return None, None
    return float(memory.total), float(memory.free)


def _rounded(size: float | None) -> float | None:
    return None if size is None else round(size / _GIB, 1)
