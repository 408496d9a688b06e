"""Owns the view of a job from outside: a `Watch` that is polled by a timer and never waits."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from PESemiSegLib.errors import JobError, OutputError
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs.events import Event, EventReader
from PESemiSegLib.jobs.files import tail
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.judge import SILENCE_S, Evidence, Verdict, judge
from PESemiSegLib.jobs.process import is_alive, kill_tree
from PESemiSegLib.jobs.status import (
    CANCELLED,
    CREATED,
    DONE,
    ENDED,
    FAILED,
    LOST,
    RUNNING,
    STARTING,
    Status,
    read_status,
    results_problem,
)

COOPERATIVE_S = 2.0  # a worker that has not even noticed a cancel by then is ended with its tree
STOPPING_S = 4.0  # one that has noticed and is saving its checkpoint
_ASK_AGAIN_S = 0.5
_BENEFIT_S = 3.0
_NAP_S = 5.0  # no more than this counts as silence between two looks: the computer may have slept
_DOUBT_S = 1.5  # heartbeats come each second; only after this long the system is asked for the process


@dataclass(frozen=True)
class Snapshot:
    """One look at a job."""

    job: Job
    state: str
    message: str
    status: Status  # its fields as last read, also after a torn or damaged write
    events: tuple[Event, ...] = ()  # new since the last look
    log_tail: tuple[str, ...] = ()  # when it failed or was lost

    @property
    def ended(self) -> bool:
        """Whether nothing more will come by itself."""
        return self.state in ENDED or self.state == LOST

    @property
    def active(self) -> bool:
        """Whether a worker is at it, or should be."""
        return self.state in (STARTING, RUNNING)


class Watch:
    """Watches one job from any program. `poll` takes milliseconds; call it two to four times a second.

    Args:
        job: what to watch. process: the worker's process, where this program started it, as this `attempt`.
        from_end: leave out the events that are there already.
        at_once: for a single look: ask the system at once, and take an old heartbeat at its word, where
            otherwise the worker has a few seconds for the next one.
        deep: read the results of a finished job back, byte for byte, on a thread; else their sizes count.
        clock, wall: monotonic and calendar seconds; replaceable for tests.
    """

    def __init__(
        self,
        job: Job,
        process: subprocess.Popen[bytes] | None = None,
        attempt: int = 0,
        *,
        from_end: bool = False,
        at_once: bool = False,
        deep: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.job, self._process, self._attempt = job, process, attempt
        self._at_once, self._deep = at_once, deep
        self._clock, self._wall = clock, wall
        self._reader = EventReader(job.path(names.EVENTS), at_end=from_end)
        self._status = Status()
        self._status_path = job.path(names.STATUS)
        self._was_read = False  # whether a status that makes sense was ever seen
        self._beat: tuple[float, int] | None = None
        self._beat_at = self._looked_at = clock()
        self._cancelled_at: float | None = None
        self._killed_at = -_ASK_AGAIN_S
        self._check: _Check | None = None

    def poll(self) -> Snapshot:
        """Look again: new events, progress, state. Ends what did not heed a `cancel` of this watch."""
        verdict = self._verdict()
        if verdict.state in (STARTING, RUNNING, LOST):
            self._enforce()
        events = self._reader.read()
        ended_badly = verdict.state in (FAILED, LOST)
        return Snapshot(
            self.job,
            verdict.state,
            verdict.message,
            self._status,
            tuple(events),
            tail(self.job.path(names.LOG)) if ended_badly else (),
        )

    def cancel(self) -> None:
        """Ask the worker to stop; the next polls end its whole process tree if it does not within 2 s."""
        self._cancelled_at = self._cancelled_at or self._clock()
        try:
            self.job.ask(names.CANCEL)
        except OutputError:  # a disk so full that an empty file has no room
            self._cancelled_at -= COOPERATIVE_S

    def pause(self) -> None:
        """Ask a resumable job to save its checkpoint and end; `runner.start` goes on from there."""
        self._ask_resumable(names.PAUSE)

    def finish(self) -> None:
        """Ask a training job to stop here and write the model as it is."""
        self._ask_resumable(names.FINISH)

    def wait(self, timeout_s: float, every_s: float = 0.1) -> Snapshot:
        """Poll until the job has ended; the last snapshot, with all events. Raises JobError at the limit.

        For scripts and tests: a user interface polls.
        """
        deadline = self._clock() + timeout_s
        events: list[Event] = []
        while True:
            seen = self.poll()
            events += seen.events
            if seen.ended and not seen.events:
                return Snapshot(seen.job, seen.state, seen.message, seen.status, tuple(events), seen.log_tail)
            if self._clock() > deadline:
                raise JobError(f"{self.job.id} has not ended within {timeout_s:.0f} s")
            time.sleep(every_s)

    def _ask_resumable(self, request: str) -> None:
        if not self.job.resumable:
            raise JobError(f"a job of the kind {self.job.kind} cannot {request}; cancel it instead")
        self.job.ask(request)

    def _verdict(self) -> Verdict:
        seen = self._evidence()
        if not self._was_read and self._process is None and not self._status_path.exists():
            # nobody has started it yet: in a cluster's queue it may wait for days
            return Verdict(CANCELLED, "stopped as asked") if seen.asked_to_cancel else Verdict(CREATED)
        verdict = judge(seen)
        if verdict.state == LOST or (verdict.state == CANCELLED and self._status.state not in ENDED):
            verdict = judge(self._evidence())  # it may have ended well between the two readings
        if verdict.state == DONE:
            return self._checked()
        self._check = None
        return verdict

    def _evidence(self) -> Evidence:
        silent_s = self._listen()
        exit_code = self._process.poll() if self._process is not None else None
        known = self._status.process
        asks = self._at_once or silent_s > _DOUBT_S or exit_code is not None or self._cancelled_at is not None
        return Evidence(
            status=self._status if self._was_read else None,
            silent_s=silent_s,
            alive=is_alive(known) if known is not None and asks else None,
            exit_code=exit_code,
            own_child=self._process is not None,
            asked_to_cancel=self._cancelled_at is not None or self.job.asked(names.CANCEL),
        )

    def _listen(self) -> float:
        """Read the status again; seconds since the last heartbeat.

        A heartbeat is any change of the file, so that a worker on a full disk, which can only touch it, lives
        on. Silence is counted on this program's own clock, so that wrong calendars do no harm, and from look
        to look, since that clock may count a sleep; what was silent before this watch began counts by the
        calendar.
        """
        status = read_status(self._status_path)
        if status is not None:
            self._status, self._was_read = status, True
            if status.attempt > self._attempt:  # started again by another program: its process is not ours
                self._process = None
        try:
            touched_s = self._status_path.stat().st_mtime
        except OSError:
            touched_s = 0.0
        beat = (max(self._status.heartbeat_s, touched_s), self._status.attempt)
        now = self._clock()
        self._beat_at += max(0.0, now - self._looked_at - _NAP_S)
        self._looked_at = now
        if self._beat is None and beat[0]:
            age_s = max(0.0, self._wall() - beat[0])
            self._beat_at = now - (age_s if self._at_once else min(age_s, SILENCE_S - _BENEFIT_S))
        elif beat != self._beat:
            self._beat_at = now
        self._beat = beat
        return now - self._beat_at

    def _checked(self) -> Verdict:
        """Done once every result was read back; the reading runs beside, since results can be large."""
        if self._deep:
            self._check = self._check or _Check(self.job, self._status)
            if not self._check.over:
                return Verdict(RUNNING, "checking the results")
            problem = self._check.problem
        else:
            problem = results_problem(self.job.folder, self._status.results, deep=False)
        return Verdict(FAILED, problem) if problem else Verdict(DONE, self._status.message)

    def _enforce(self) -> None:
        now = self._clock()
        if self._cancelled_at is None:
            return
        patience_s = STOPPING_S if self._status.stopping else COOPERATIVE_S
        if now - self._cancelled_at < patience_s or now - self._killed_at < _ASK_AGAIN_S:
            return
        self._killed_at = now
        arguments = (self._status.process, self.job.token, names.TOKEN_VARIABLE)
        threading.Thread(target=kill_tree, args=arguments, daemon=True).start()  # reads all of /proc
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


class _Check:
    """Reads results back on a thread of its own."""

    def __init__(self, job: Job, status: Status) -> None:
        self.over = False
        self.problem: str | None = None
        self._job, self._status = job, status
        threading.Thread(target=self._run, name="pesemiseg-check", daemon=True).start()

    def _run(self) -> None:
        self.problem = results_problem(self._job.folder, self._status.results, deep=True)
        self.over = True


def look(job: Job) -> Snapshot:
    """One look at a job, for lists: results by size only, no events, heartbeats taken at their word."""
    return Watch(job, from_end=True, at_once=True, deep=False).poll()
