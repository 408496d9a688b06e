"""Owns the view of one background job from the panels: a timer that looks into its folder and never waits."""

import threading
from collections.abc import Callable

import qt

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.files import tail
from PESemiSegLib.jobs.folder import LOG, Job
from PESemiSegLib.jobs.status import CREATED
from PESemiSegLib.jobs.watch import Snapshot, Watch, look

from . import machine

EVERY_MS = 300
_PATIENCE_S = 15.0


class JobMonitor:
    """Follows one job at a time.

    Args:
        news: gets a snapshot at each look while the job is at work. ended: gets the last one, once.
    """

    def __init__(self, news: Callable[[Snapshot], None], ended: Callable[[Snapshot], None]):
        self._news, self._ended = news, ended
        self._watch: Watch | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(EVERY_MS)
        self._timer.connect("timeout()", self._look)

    @property
    def active(self) -> bool:
        """Whether a job is being followed."""
        return self._watch is not None

    @property
    def job(self) -> Job | None:
        """The job that is followed."""
        return self._watch.job if self._watch is not None else None

    @property
    def watch(self) -> Watch | None:
        """For requests: cancel, pause, finish."""
        return self._watch

    def start(self, job: Job) -> None:
        """Start a job in the Python of the settings, and follow it. Raises PESemiSegError."""
        try:
            watch = runner.start(job, python=machine.python())
        except PESemiSegError:
            abandonUnstarted(job)
            raise
        self.follow(watch)

    def follow(self, watch: Watch) -> None:
        """Follow a job that is at work, or was."""
        self._watch = watch
        self._timer.start()

    def forget(self) -> None:
        """Look no more; the job goes on."""
        self._timer.stop()
        self._watch = None

    def abandon(self) -> None:
        """Look no more, and let the job end: nobody waits for it."""
        job = self.job
        self.forget()
        abandon(job)

    def cancel(self) -> None:
        """Ask the job to stop; its end is reported as any other."""
        if self._watch is not None:
            self._watch.cancel()

    def logTail(self) -> str:
        """The last lines of the job's log; they hold no patient data."""
        return "\n".join(tail(self._watch.job.path(LOG))) if self._watch is not None else ""

    def _look(self) -> None:
        if self._watch is None:
            return
        seen = self._watch.poll()
        if not seen.ended:
            self._news(seen)
            return
        if seen.events:  # the last words before the end
            self._news(seen)
            if len(seen.events) > 500:
                return  # there may be more to read
        self.forget()
        self._ended(seen)


def abandon(job: Job | None) -> None:
    """Stop a job that nobody waits for any more; what it left is removed on a thread, since it can be large."""
    if job is not None:
        threading.Thread(target=_remove, args=(job,), name="pesemiseg-remove", daemon=True).start()


def abandonUnstarted(job: Job | None) -> None:
    """Remove a job that nobody will start any more; one that was started once stays as it is."""
    if job is not None and look(job).state == CREATED:
        abandon(job)


def _remove(job: Job) -> None:
    """Cancel, and remove once the worker has ended; the Environment panel removes what this leaves."""
    try:
        watch = Watch(job, from_end=True)
        if watch.poll().active:
            watch.cancel()
            watch.wait(_PATIENCE_S)
        runner.remove(job)
    except PESemiSegError:
        return
