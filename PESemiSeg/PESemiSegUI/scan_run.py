"""Owns one run over a volume: it goes out to a job, progress comes in, and what the job leaves becomes nodes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs.folder import INPUT, Job
from PESemiSegLib.jobs.status import CANCELLED, DONE, LOST
from PESemiSegLib.jobs.watch import Snapshot

from . import scene
from .background import Steps, Task
from .job_monitor import JobMonitor, abandon, abandonUnstarted

PREPARING, RUNNING, CHECKED, FINISHED, STOPPED, FAILED = (
    *("preparing", "running", "checked", "finished", "stopped", "failed"),
)


@dataclass(frozen=True)
class Request:
    """What is to be read, and how. `settings` are those of the job."""

    volume: Any  # vtkMRMLScalarVolumeNode
    model: str
    device: str = "auto"
    settings: dict = field(default_factory=dict)
    strict: bool = True  # stop where the input check finds fault, and ask

    def params(self, matrix: list[list[float]]) -> dict:
        """Parameters of the job."""
        settings = {"device": self.device, "strict": self.strict, **self.settings}
        return {"ijk_to_ras": matrix, "model": self.model, "settings": settings}


@dataclass(frozen=True)
class News:
    """One thing that the panel shows."""

    phase: str
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""
    sentences: tuple[str, ...] = ()  # of the input check
    log: str = ""
    segmentation: Any = None  # vtkMRMLSegmentationNode, once it is in the scene


class ScanRun:
    """At most one run at a time. `tell` gets News on the user interface's thread.

    Each kind of run says what is its own by `JOB`, `_prepare`, `_listen`, `_bring` and `_clear`.
    """

    JOB = ""  # the kind of its job

    def __init__(self, tell: Callable[[News], None]):
        self._tell = tell
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._task: Task | None = None
        self._request: Request | None = None
        self._job: Job | None = None
        self._sentences: tuple[str, ...] = ()
        self._steps: Steps | None = None  # of the import
        self._node: Any = None  # the result that is being made
        self._cancelled = False

    @property
    def active(self) -> bool:
        """Whether a run is on its way."""
        return self._request is not None

    @property
    def volume(self):
        """The volume of the run that is on its way."""
        return self._request.volume if self._request is not None else None

    def start(self, request: Request) -> None:
        """Begin; returns at once. Raises PESemiSegError where no job can be made."""
        if self.active:
            raise PESemiSegError(_("A run is on its way already."))
        self._job = Job.create(self.JOB, request.params(scene.ijkToRas(request.volume)))
        self._request, self._sentences, self._cancelled = request, (), False
        self._prepare(request)
        self._tell(News(PREPARING))
        write = scene.writer(request.volume, self._job.path(INPUT))
        self._task = Task(write, self._onWritten, self._onTaskFailed)

    def cancel(self) -> None:
        """Ask the run to stop; News of its end come within 2 seconds."""
        self._cancelled = True
        self._monitor.cancel()

    def abandon(self) -> None:
        """Stop the run and tell nothing more: its scene is gone."""
        if self._task is not None:
            self._task.forget()
        self._monitor.forget()
        if self._steps is not None:
            self._steps.forget()
        self._clear()
        job, self._job, self._request = self._job, None, None
        abandon(job)

    # what each kind of run has of its own

    def _prepare(self, request: Request) -> None:
        """The run begins."""

    def _listen(self, seen: Snapshot) -> None:
        """The job has told of something."""

    def _bring(self, job: Job) -> None:
        """The job is done: bring what it left into the scene, and end with `_finish`."""
        raise NotImplementedError

    def _clear(self) -> None:
        """The run is over, however it ended."""

    # the way of every run

    def _onWritten(self, _result: object) -> None:
        if self._cancelled:
            self._finish(News(STOPPED))
            return
        try:
            self._monitor.start(self._job)
        except PESemiSegError as error:
            self._finish(News(FAILED, message=str(error)))

    def _onTaskFailed(self, error: Exception) -> None:
        if not self.active:  # its end was told, and that failed
            return
        logging.error("PESemiSeg: %s", type(error).__name__)
        abandonUnstarted(self._job)
        self._finish(
            News(FAILED, message=_("The volume or the result could not be copied: {why}").format(why=error))
        )

    def _onNews(self, seen: Snapshot) -> None:
        for event in seen.events:
            if event["kind"] == "check":
                self._sentences = tuple(str(text) for text in event.get("sentences", ()))
        self._listen(seen)
        status = seen.status
        self._tell(
            News(
                RUNNING,
                status.stage,
                status.done,
                status.total,
                status.seconds_left,
                sentences=self._sentences,
                log=self._monitor.logTail(),
            )
        )

    def _onEnd(self, seen: Snapshot) -> None:
        log = "\n".join(seen.log_tail)
        if seen.state == DONE:
            self._import(seen)
        elif seen.state == CANCELLED:
            self._finish(News(STOPPED))
        elif (
            self._sentences
            and self._request is not None
            and self._request.strict
            and seen.status.exit_code == 2
        ):
            self._finish(News(CHECKED, sentences=self._sentences, log=log))
        else:
            if seen.state == LOST:  # it may still live, and nobody could cancel it any more
                abandon(self._job)
            self._finish(News(FAILED, message=seen.message, log=log))

    def _import(self, seen: Snapshot) -> None:
        if self._stillThere():
            self._bring(seen.job)

    def _stillThere(self) -> bool:
        """Whether the volume is in the scene; the run ends where it is not."""
        if self._request.volume.GetScene() is not None:
            return True
        self._finish(News(FAILED, message=_("The volume was removed from the scene meanwhile.")))
        return False

    def _take(self, steps: Iterator[Any], done: Callable[[], None]) -> None:
        """Make the nodes in steps that yield the result's segmentation; then `done`."""

        def keep(node: Any) -> None:
            self._node = node

        self._steps = Steps(steps, keep, done, self._onUnreadable)

    def _onUnreadable(self, error: Exception) -> None:
        logging.error("PESemiSeg: %s", type(error).__name__)
        self._finish(News(FAILED, message=_("The result could not be read: {why}").format(why=error)))

    def _finish(self, news: News) -> None:
        self._clear()
        job, self._job, self._request, self._task = self._job, None, None, None
        if news.phase in (STOPPED, CHECKED):
            abandon(job)
        elif job is not None:  # files and log stay, but not the scan
            with suppress(OSError):
                Path(job.path(INPUT)).unlink(missing_ok=True)
        self._tell(news)
