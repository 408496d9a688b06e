"""Owns the worker's side of the folder: heartbeat, progress, events, requests to stop, the final word."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PESemiSegLib.atomic import flush_to_disk, sha256_of, sweep
from PESemiSegLib.errors import Cancelled
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs.events import EventWriter
from PESemiSegLib.jobs.files import write_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.process import identify, is_alive, memory_mb
from PESemiSegLib.jobs.redact import Redactor
from PESemiSegLib.jobs.status import (
    CANCELLED,
    RUNNING,
    STARTING,
    ResultFile,
    Status,
    next_attempt,
    read_status,
)

HEARTBEAT_S = 1.0
_LOOK_S = 0.2  # how often requests are looked for
_STARTER_S = 2.0  # how often it is asked whether the starter lives
_PROGRESS_S = 0.25  # at most four progress events a second
_FINAL_PATIENCE_S = 5.0
_RESERVE = ".reserve"
_RESERVE_BYTES = 64 * 1024  # given free at the end, so that the last word has room on a full disk
SIGNAL, ORPHANED = "signal", "orphaned"  # reasons to stop beside the requests


class Context:
    """What a job's work gets: its parameters, its folder, and ways to report and to be stopped.

    Args:
        job: the job. on_deadline: called on the heartbeat's thread when a cancel was not heeded in time.
    """

    def __init__(self, job: Job, on_deadline: Callable[[], None] = lambda: None) -> None:
        self.job, self.params, self.folder = job, job.params, job.folder
        self.redact = Redactor(job.params, keep=(job.folder,))
        self._events = EventWriter(job.path(names.EVENTS))
        before = read_status(job.path(names.STATUS))
        launched = before if before is not None and before.state == STARTING else None
        self._again = before is not None and launched is None  # by hand: a starter forgets requests itself
        attempt = launched.attempt if launched else next_attempt(before)
        starter = launched.starter if launched else None  # nobody: it was started by hand
        self._starter = None if job.outlives else starter
        now = time.time()
        self._status = Status(RUNNING, attempt, identify(os.getpid()), starter, now, now)
        self._lock = threading.RLock()
        self._stop_reason: str | None = None
        self._ended = threading.Event()
        self._told = -_PROGRESS_S
        self._on_deadline = on_deadline
        self._thread = threading.Thread(target=self._beat, name="pesemiseg-heartbeat", daemon=True)

    def begin(self) -> None:
        """Start the heartbeat; sweep what a killed worker has left half written, and what was asked of it."""
        if self._again:
            self.job.forget_requests()
        sweep(self.folder, older_than_s=0)
        with suppress(OSError):
            self.job.path(_RESERVE).write_bytes(secrets.token_bytes(_RESERVE_BYTES))
        self._events.write("begin", attempt=self._status.attempt, job=self.job.kind)
        self._write()
        self._thread.start()

    def progress(self, stage: str, done: int = 0, total: int = 0, seconds_left: float | None = None) -> None:
        """Say how far the work is. May be called at any rate."""
        now = time.monotonic()
        with self._lock:
            new_stage = stage != self._status.stage
            self._status = self._status.with_changes(
                stage=stage, done=int(done), total=int(total), seconds_left=seconds_left
            )
            if not new_stage and done < total and now - self._told < _PROGRESS_S:
                return
            self._told = now
            self._write()
        self._events.write(
            "progress", stage=stage, done=int(done), total=int(total), seconds_left=seconds_left
        )

    def event(self, kind: str, **values: Any) -> None:
        """Append an event; texts are redacted."""
        self._events.write(kind, **self._clean(values))

    def cancelled(self) -> bool:
        """Whether the work shall stop, for whatever reason; to be asked at least every second."""
        self._look_for_requests()
        if self._stop_reason is not None and not self._status.stopping:
            with self._lock:
                self._status = self._status.with_changes(stopping=True)
                self._write()
        return self._stop_reason is not None

    def check(self) -> None:
        """Raise Cancelled where the work shall stop."""
        if self.cancelled():
            raise Cancelled("stopped as asked")

    def enough(self) -> bool:
        """Whether training shall end here as if its time were up, and write its model."""
        return self.job.asked(names.FINISH)

    @property
    def stop_reason(self) -> str | None:
        """One of "cancel", "pause", "signal" or "orphaned"; None while the work shall go on."""
        return self._stop_reason

    def stop(self, reason: str) -> None:
        """Ask the work to stop; the first reason stays, except that a cancel overrules a pause."""
        if self._stop_reason in (None, names.PAUSE):
            self._stop_reason = reason

    def finish(self, state: str, exit_code: int, message: str, results: list[Path]) -> None:
        """The last word: results with their sums, then the state, on the disk before this returns.

        A job that was stopped takes its copies of a scan along: who started it may be gone.
        """
        if state == CANCELLED:
            self.job.drop_copies()
        files = []
        for path in results:
            with suppress(OSError):
                flush_to_disk(path)
            name = path.relative_to(self.folder).as_posix()
            files.append(ResultFile(name, path.stat().st_size, sha256_of(path)))
        message = self.redact(message)
        self.event("end", state=state, message=message)
        self._ended.set()
        with self._lock:
            now = time.time()
            self._status = self._status.with_changes(
                state=state,
                exit_code=exit_code,
                message=message,
                results=tuple(files),
                heartbeat_s=now,
                ended_s=now,
                seconds_left=None,
            )
            self.job.path(_RESERVE).unlink(missing_ok=True)
            self._write(durable=True)

    def _beat(self) -> None:
        beat_at = asked_at = deadline = 0.0
        while not self._ended.wait(_LOOK_S):
            now = time.monotonic()
            self._look_for_requests()
            if now - beat_at >= HEARTBEAT_S:
                beat_at = now
                with self._lock:
                    if not self._ended.is_set():
                        self._write()
            if self._starter is not None and now - asked_at >= _STARTER_S:
                asked_at = now
                if is_alive(self._starter) is False:
                    self.stop(ORPHANED)
            if self._stop_reason in (names.CANCEL, SIGNAL, ORPHANED):
                deadline = deadline or now
                if now - deadline > (4.0 if self._status.stopping else 2.0):
                    self._on_deadline()

    def _look_for_requests(self) -> None:
        if self.job.asked(names.CANCEL):
            self.stop(names.CANCEL)
        elif self.job.resumable and self.job.asked(names.PAUSE):
            self.stop(names.PAUSE)

    def _write(self, *, durable: bool = False) -> None:
        """Replace status.json. On a full disk a heartbeat becomes a touch; the last word has the reserve."""
        path = self.job.path(names.STATUS)
        with self._lock:
            if not durable:
                self._status = self._status.with_changes(heartbeat_s=time.time(), memory_mb=memory_mb())
            status = self._status.to_dict()
            try:
                write_json(path, status, durable=durable, patience_s=_FINAL_PATIENCE_S if durable else 0.1)
            except OSError:
                if durable:
                    raise
                with suppress(OSError):
                    os.utime(path)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        return value
