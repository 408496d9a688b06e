"""Owns the progress report of a running segmentation and its polite stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import TypeVar

from PESemiSegLib.errors import Cancelled

POLL_S = 0.1  # how often a running computation asks whether to stop
Poll = Callable[[], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a segmentation is. `seconds_left` is None until it can be estimated."""

    done: int  # slices
    total: int
    stage: str  # "check", "load", "slices", "findings"
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        """Share of the slices that are done, 0 to 1."""
        return self.done / self.total if self.total else 0.0


ProgressCallback = Callable[[Progress], None]
CancelCheck = Callable[[], bool]


class Reporter:
    """Tells the caller about progress and raises Cancelled when the caller has asked to stop.

    `clock` is replaceable for tests. Reports are at least `every_s` apart, except at a change of stage
    and at the last slice.
    """

    def __init__(
        self,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
        *,
        every_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress, self._cancelled = progress, cancelled
        self._every_s, self._clock = every_s, clock
        self._stage, self._total, self._began, self._told = "", 0, 0.0, 0.0

    def check_cancelled(self) -> None:
        """Raise Cancelled when the caller has asked to stop."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("stopped as asked; nothing was written")

    def start(self, stage: str, total: int = 0) -> None:
        """Begin a stage of `total` steps (slices)."""
        self.check_cancelled()
        self._stage, self._total = stage, total
        self._began = self._clock()
        self._tell(0)

    def advance(self, done: int) -> None:
        """`done` steps of the current stage are finished."""
        self.check_cancelled()
        if done >= self._total or self._clock() - self._told >= self._every_s:
            self._tell(done)

    def _tell(self, done: int) -> None:
        self._told = self._clock()
        if self._progress is None:
            return
        left = (self._told - self._began) / done * (self._total - done) if done else None
        self._progress(Progress(done, self._total, self._stage, left))


class Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


def wait_for(job: Future[T], poll: Poll) -> T:
    """The result of `job`; meanwhile `poll`, which may raise to stop waiting, is called every 0.1 s."""
    while True:
        poll()
        try:
            return job.result(timeout=POLL_S)
        except NotYet:
            if job.done():  # the job's own TimeoutError, not ours
                raise


def in_background(task: Callable[[], T]) -> Future[T]:
    """Start `task` on a thread of its own; a task that nobody waits for any more ends by itself."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="pesemiseg-task")
    job = pool.submit(task)
    pool.shutdown(wait=False)
    return job
