"""Owns one run of Segment PE: marks show up while it runs, findings come first, the confidence last."""

import time
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.watch import Snapshot

from . import machine, scene
from .background import Task
from .preview import Preview
from .scan_run import FINISHED, News, Request, ScanRun


class SegmentRun(ScanRun):
    """The last News hold the segmentation with its findings."""

    JOB = "segment"
    _preview: Preview | None = None
    _began_s = _seconds = 0.0

    def _prepare(self, request: Request) -> None:
        self._preview = Preview(request.volume)
        self._began_s = time.monotonic()

    def _listen(self, seen: Snapshot) -> None:
        if self._preview is not None and seen.events:
            self._preview.add(seen.events, seen.job.folder)

    def _clear(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            preview.remove()

    def _bring(self, job: Job) -> None:
        self._seconds = time.monotonic() - self._began_s
        folder = job.folder
        self._take(scene.importSteps(self.volume, folder, job.id), lambda: self._onImported(folder))

    def _onImported(self, folder: Path) -> None:
        """The findings are in the scene; last comes the confidence, which is as large as the scan."""
        request, node = self._request, self._node
        slices = request.volume.GetImageData().GetDimensions()[2]
        machine.rememberSpeed(request.model, request.device, self._seconds / max(1, slices))

        def load() -> "tuple[np.ndarray, list[list[float]]]":
            return np.load(folder / "confidence.npy", allow_pickle=False), scene.gridOf(folder)

        def show(found: "tuple[np.ndarray, list[list[float]]]") -> None:
            if not self._stillThere():
                return
            if node.GetScene() is not None:
                scene.setConfidence(node, scene.CONFIDENCE, *found)
            self._finish(News(FINISHED, sentences=self._sentences, segmentation=node))

        self._task = Task(load, show, self._onTaskFailed)


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
