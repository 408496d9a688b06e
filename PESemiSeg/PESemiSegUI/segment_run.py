"""Owns one run of Segment PE: the volume goes out to a job, progress comes in, the result becomes nodes."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import machine, scene
from .background import Steps, Task
from .job_monitor import JobMonitor, abandon
from .preview import Preview

INPUT = "input.npy"
PREPARING, RUNNING, CHECKED, FINISHED, STOPPED, FAILED = (
    *("preparing", "running", "checked", "finished", "stopped", "failed"),
)


@dataclass(frozen=True)
class Request:
    """What is to be segmented, and how. `settings` are those of a segment job."""

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


class SegmentRun:
    """At most one run at a time. `tell` gets News on the user interface's thread."""

    def __init__(self, tell: Callable[[News], None]):
        self._tell = tell
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._task: Task | None = None
        self._request: Request | None = None
        self._job: Job | None = None
        self._sentences: tuple[str, ...] = ()
        self._steps: Steps | None = None  # of the import
        self._node: Any = None  # the result that is being made
        self._preview: Preview | None = None
        self._began_s = self._seconds = 0.0
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
        self._job = Job.create("segment", request.params(scene.ijkToRas(request.volume)))
        self._request, self._sentences, self._cancelled = request, (), False
        self._preview = Preview(request.volume)
        self._began_s = time.monotonic()
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
        self._endPreview()
        job, self._job, self._request = self._job, None, None
        abandon(job)

    def _onWritten(self, _result: object) -> None:
        if self._cancelled:
            self._finish(News(STOPPED))
            return
        try:
            self._monitor.start(self._job)
        except PESemiSegError as error:
            self._finish(News(FAILED, message=str(error)))

    def _onTaskFailed(self, error: Exception) -> None:
        logging.error("PESemiSeg: %s", type(error).__name__)
        self._finish(
            News(FAILED, message=_("The volume or the result could not be copied: {why}").format(why=error))
        )

    def _onNews(self, seen: Snapshot) -> None:
        for event in seen.events:
            if event["kind"] == "check":
                self._sentences = tuple(str(text) for text in event.get("sentences", ()))
        if self._preview is not None and seen.events:
            self._preview.add(seen.events, seen.job.folder)
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
            self._finish(News(FAILED, message=seen.message, log=log))

    def _import(self, seen: Snapshot) -> None:
        request, folder = self._request, seen.job.folder
        self._seconds = time.monotonic() - self._began_s
        if request.volume.GetScene() is None:
            self._finish(
                News(FAILED, message=_("The volume was removed from the scene while it was segmented."))
            )
            return
        steps = scene.importSteps(request.volume, folder, seen.job.id)
        self._steps = Steps(steps, self._onNode, lambda: self._onImported(folder), self._onUnreadable)

    def _onNode(self, node) -> None:
        self._node = node

    def _onUnreadable(self, error: Exception) -> None:
        self._finish(News(FAILED, message=_("The result could not be read: {why}").format(why=error)))

    def _onImported(self, folder: Path) -> None:
        """The findings are in the scene; last comes the confidence, which is as large as the scan."""
        request, node = self._request, self._node
        slices = request.volume.GetImageData().GetDimensions()[2]
        machine.rememberSpeed(request.model, request.device, self._seconds / max(1, slices))

        def load() -> "tuple[np.ndarray, list[list[float]]]":
            return np.load(folder / "confidence.npy", allow_pickle=False), scene.gridOf(folder)

        def show(found: "tuple[np.ndarray, list[list[float]]]") -> None:
            if node.GetScene() is not None:
                scene.setConfidence(node, scene.CONFIDENCE, *found)
            self._finish(News(FINISHED, sentences=self._sentences, segmentation=node))

        self._task = Task(load, show, self._onTaskFailed)

    def _endPreview(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            preview.remove()

    def _finish(self, news: News) -> None:
        self._endPreview()
        job, self._job, self._request, self._task = self._job, None, None, None
        if news.phase == FINISHED and job is not None:
            with suppress(OSError):
                Path(job.path(INPUT)).unlink(missing_ok=True)  # as large as the scan
        elif news.phase in (STOPPED, CHECKED):
            abandon(job)
        self._tell(news)


def explainVolume(volume) -> str:
    """What the user should know of a volume before it is segmented; empty where there is nothing to say."""
    if volume is None:
        if slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMultiVolumeNode"):
            return _(
                "The scene holds a multi-volume, which cannot be segmented as it is: load it again as single "
                "volumes or as a sequence (Edit / Application settings / DICOM / MultiVolume import)."
            )
        return ""
    lines = []
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
    if browser is not None:
        lines.append(_("This is one frame of a sequence: the frame that is shown now is segmented."))
    transform = volume.GetParentTransformNode()
    if transform is not None and not transform.IsLinear():
        lines.append(
            _(
                "Slicer has put a correction for tilted or uneven slices on this volume; the result gets the same. "
                "Load CTPA... reads such a series onto even slices instead."
            )
        )
    return " ".join(lines)
