"""Owns what is known of processes: who one is beyond its number, whether it lives, and how its tree ends.

A process number alone is worthless after a reboot or a long night: it may belong to somebody else. An
`Identity` adds the moment of the start and the machine, and nothing is ever killed on the number alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_ROUNDS = 5  # a dying tree may still start children
_HAS_PROC = sys.platform.startswith("linux")


@dataclass(frozen=True)
class Identity:
    """One process of one machine, for ever: another one with the same number differs in `started`."""

    pid: int
    started: str
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: object) -> Identity | None:
        """The identity that JSON holds; None where it holds none."""
        if not isinstance(raw, dict):
            return None
        pid, started, machine = raw.get("pid"), raw.get("started"), raw.get("machine")
        if type(pid) is not int or pid <= 0 or not isinstance(started, str) or not isinstance(machine, str):
            return None
        return cls(pid, started, machine)


def identify(pid: int) -> Identity | None:
    """Who has this number now; None where nobody has or it cannot be found out."""
    started = _started(pid)
    return Identity(pid, started, machine()) if started else None


def is_alive(who: Identity) -> bool | None:
    """Whether that very process runs; None where it belongs to another machine and nothing can be said."""
    if who.machine != machine():
        return None
    return _started(who.pid) == who.started


@cache
def machine() -> str:
    """A short digest that tells machines (and containers) apart without naming them."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


def kill_tree(who: Identity | None, token: str, variable: str) -> int:
    """End a worker, everything below it, and everything that carries `variable=token` in its environment.

    Only processes that are proven to belong to the job are touched; never this program itself.

    Args:
        who: the worker, where it is known. token, variable: the job's mark (seen on Linux only).

    Returns:
        how many processes were told to end.
    """
    if who is not None and who.machine != machine():
        return 0
    if os.name == "nt":
        return _kill_tree_windows(who)
    count = 0
    for _ in range(_ROUNDS):
        victims = list(_victims(who, f"{variable}={token}".encode()))
        count += len(victims)
        if not sum(_kill(pid, started) for pid, started in victims):
            break
    return count


def lower_priority() -> None:
    """Leave the processor to the programs in front, and be the first to go when memory runs out."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(5)
    with suppress(OSError):
        (_PROC / "self" / "oom_score_adj").write_text("500")


def memory_mb() -> int | None:
    """Resident memory of this process in MiB; None where the system does not say."""
    try:
        pages = int((_PROC / "self" / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _victims(who: Identity | None, mark: bytes) -> Iterator[tuple[int, str]]:
    """(pid, started) of the worker, its descendants and the marked, without this program."""
    parents = _parents()
    chosen = {pid for pid in parents if _is_marked(pid, mark)}
    if who is not None and is_alive(who):
        chosen.add(who.pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in chosen} - chosen
        chosen |= more
        grown = bool(more)
    for pid in sorted(chosen - {os.getpid(), 0, 1}):
        if started := _started(pid):
            yield pid, started


def _kill(pid: int, started: str) -> bool:
    """SIGKILL to that very process; where the system has process handles the number cannot change hands."""
    try:
        if hasattr(os, "pidfd_open"):
            handle = os.pidfd_open(pid)
            try:
                if _started(pid) != started:
                    return False
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
        elif _started(pid) == started:
            os.kill(pid, signal.SIGKILL)
        else:
            return False
    except OSError:
        return False
    return True


def _parents() -> dict[int, int]:
    """Every process's parent."""
    if not _HAS_PROC:
        return _parents_by_ps()
    parents = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    return parents


def _parents_by_ps() -> dict[int, int]:
    rows = (line.split() for line in _ps("-axo", "pid=,ppid=").splitlines())
    return {int(row[0]): int(row[1]) for row in rows if len(row) == 2}


def _is_marked(pid: int, mark: bytes) -> bool:
    if not _HAS_PROC:
        return False
    try:
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _started(pid: int) -> str | None:
    """When a living process was started, in the system's own exact words; None for the dead."""
    if os.name == "nt":
        return _started_windows(pid)
    if not _HAS_PROC:
        state, _, since = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip().partition(" ")
        return None if not since or state.startswith("Z") else " ".join(since.split())
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else f"{_boot()}/{int(fields[19])}"


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ..., start time at 19."""
    try:
        raw = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return raw[raw.rindex(b")") + 2 :].split()


@cache
def _boot() -> str:
    """This run of the system: start times are counted from it."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _ps(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["ps", *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _started_windows(pid: int) -> str | None:
    """The creation time of a running process, in 100 ns since 1601."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(0x1000, False, pid))  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    try:
        code = ctypes.c_ulong()
        still_running = 259
        if not kernel.GetExitCodeProcess(handle, ctypes.byref(code)) or code.value != still_running:
            return None
        times = [ctypes.c_ulonglong() for _ in range(4)]  # creation, exit, kernel, user
        if not kernel.GetProcessTimes(handle, *(ctypes.byref(time) for time in times)):
            return None
        return str(times[0].value)
    finally:
        kernel.CloseHandle(handle)


def _kill_tree_windows(who: Identity | None) -> int:
    """taskkill ends a tree from its root; started and not waited for, since a panel calls this."""
    if who is None or not is_alive(who):
        return 0
    subprocess.Popen(
        ["taskkill", "/T", "/F", "/PID", str(who.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=0x08000000,  # CREATE_NO_WINDOW
    )
    return 1
