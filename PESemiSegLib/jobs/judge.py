"""Owns the verdict on a job: what its status, its processes, its silence and its files say together."""

from __future__ import annotations

from dataclasses import dataclass

from PESemiSegLib.jobs.status import CANCELLED, DONE, ENDED, FAILED, LOST, RUNNING, STARTING, Status

SILENCE_S = 30.0  # without a heartbeat for this long a worker counts as lost
_SIGKILL, _CRASHES = (
    -9,
    {-4: "illegal instruction", -6: "abort", -7: "bus error", -8: "arithmetic", -11: "segfault"},
)
_WINDOWS_CRASH = 0xC0000000  # and above: the code of an exception that nobody caught


@dataclass(frozen=True)
class Evidence:
    """What a watcher knows. `None` means that it cannot be known from here."""

    status: Status | None
    silent_s: float  # since the last heartbeat that was seen
    alive: bool | None = None  # the process of the status
    exit_code: int | None = None  # of the process that this program started, once it has ended
    own_child: bool = False  # this program started it and can learn its exit code
    asked_to_cancel: bool = False
    results_problem: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The job's state as seen from here, and a sentence on it where there is something to say."""

    state: str
    message: str = ""


def judge(seen: Evidence) -> Verdict:
    """The state of a job that was started; see `status` for the states."""
    status = seen.status
    if status is not None and status.state in ENDED:
        return _ended(status, seen)
    if _is_dead(seen):
        return _dead(seen)
    if seen.silent_s > SILENCE_S:
        return _silent(seen)
    return Verdict(status.state if status else STARTING, status.message if status else "")


def _ended(status: Status, seen: Evidence) -> Verdict:
    """Success needs three witnesses: the status, the exit code and the files."""
    if seen.own_child and seen.exit_code is None and seen.silent_s <= SILENCE_S:
        return Verdict(RUNNING, status.message)  # it has said its last word and is about to end
    if status.state != DONE:
        return Verdict(status.state, status.message)
    code = status.exit_code if seen.exit_code is None else seen.exit_code
    if code not in (0, _SIGKILL):  # killed after its last word, it has done its work all the same
        return Verdict(FAILED, f"the worker ended with exit code {code} after its work")
    if seen.results_problem:
        return Verdict(FAILED, seen.results_problem)
    return Verdict(DONE, status.message)


def _is_dead(seen: Evidence) -> bool:
    if seen.exit_code is not None and seen.alive is not True:
        return True
    return seen.status is not None and seen.alive is False


def _dead(seen: Evidence) -> Verdict:
    """No worker any more, and it did not say why."""
    if seen.asked_to_cancel:
        return Verdict(CANCELLED, "stopped as asked")
    code = seen.exit_code
    began = seen.status is not None and seen.status.state == RUNNING
    if code is not None and code not in (0, _SIGKILL) and (code in _CRASHES or code >= _WINDOWS_CRASH):
        return Verdict(LOST, f"the worker crashed ({_CRASHES.get(code, hex(code))}){_where(seen.status)}")
    if not began:
        why = "" if code is None else f" (exit code {code})"
        return Verdict(FAILED, f"the worker could not start{why}; see the last lines of its log")
    return Verdict(LOST, f"the worker died (probably memory){_where(seen.status)}")


def _silent(seen: Evidence) -> Verdict:
    if seen.asked_to_cancel and seen.alive is None:
        return Verdict(CANCELLED, "stopped as asked; the worker does not answer any more")
    if seen.alive:
        return Verdict(
            LOST, f"the worker has not answered for {SILENCE_S:.0f} s (probably memory); cancel ends it"
        )
    if seen.status is None or seen.status.state == STARTING:
        return Verdict(LOST, "the worker did not start; see the last lines of its log")
    return Verdict(LOST, f"the worker died (probably memory){_where(seen.status)}")


def _where(status: Status | None) -> str:
    """How far it was, for the end of a sentence."""
    if status is None:
        return ""
    parts = [f"at {status.stage} {status.done}/{status.total}"] if status.stage and status.total else []
    if status.stage and not status.total:
        parts.append(f"at {status.stage}")
    if status.memory_mb:
        parts.append(f"with {status.memory_mb / 1024:.1f} GiB in use")
    return ", " + ", ".join(parts) if parts else ""
