"""Owns Load CTPA...: a scan read by the library in a job, its series choice and warnings, into the scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.jobs.folder import VOLUME, Job
from PESemiSegLib.jobs.status import CANCELLED, DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import views
from .background import Task
from .job_monitor import JobMonitor, abandon


def chooseSeries(choices: list[dict]) -> str | None:
    """Ask which of several series; None where the user gives up."""
    labels = [f"{n}. {item['label']}" for n, item in enumerate(choices, start=1)]  # labels can be equal
    dialog = qt.QInputDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("Load CTPA"))
    dialog.setLabelText(_("There are several series. Which one is the angiogram?"))
    dialog.setComboBoxItems(labels)
    if not dialog.exec_():
        return None
    return choices[labels.index(dialog.textValue())]["choice"]


class Loader:
    """Reads one scan at a time.

    Args:
        loaded: gets the volume node and the reader's warnings. say: gets a sentence on how it goes.
        choose: asks for one of several series.
    """

    def __init__(
        self,
        loaded: "Callable[[Any, tuple[str, ...]], None]",
        say: Callable[[str], None],
        choose: Callable[[list[dict]], "str | None"] = chooseSeries,
    ):
        self._loaded, self._say, self.choose = loaded, say, choose
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._path, self._job, self._task = "", None, None

    @property
    def active(self) -> bool:
        """Whether a scan is being read."""
        return self._job is not None

    def askForFolder(self) -> None:
        """Ask for a DICOM folder, then read it."""
        title = _("DICOM folder of the CTPA")
        self.load(str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title)))

    def askForFile(self) -> None:
        """Ask for an image file, then read it."""
        kinds = _("Images") + " (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd *.dcm);;" + _("All files") + " (*)"
        chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("File of the CTPA"), "", kinds)
        self.load(str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen))

    def load(self, path: str, series: str | None = None) -> None:
        """Read a folder or file; a folder's series are looked at first."""
        if not path:
            return
        if self.active:
            self._say(_("A scan is being read already."))
            return
        self._path = path
        if series is None and Path(path).is_dir():
            self._start({"input": Path(path), "list": True})
        else:
            self._start({"input": Path(path), **({"series": series} if series else {})})

    def makeUp(self, seed: int) -> None:
        """Make a patient who never lived, instead of reading one."""
        if not self.active:
            self._start({"made_up": seed})

    def abandon(self) -> None:
        """Read no more."""
        self._monitor.forget()
        if self._task is not None:
            self._task.forget()
        job, self._job = self._job, None
        abandon(job)

    def _start(self, params: dict) -> None:
        try:
            self._job = Job.create("read", params)
            self._monitor.start(self._job)
            self._say(_("Reading the scan..."))
        except PESemiSegError as error:
            self._job = None
            self._say(str(error))

    def _onNews(self, _seen: Snapshot) -> None:
        """Reading takes seconds: that it is on its way has been said."""

    def _onEnd(self, seen: Snapshot) -> None:
        job, self._job = self._job, None
        if seen.state != DONE:
            self._say(
                "" if seen.state == CANCELLED else _("The scan was not read: {why}").format(why=seen.message)
            )
            abandon(job)
            return
        about = read_json(job.path("volume.json")) or {}
        if "ijk_to_ras" in about:
            self._take(job, about)
            return
        abandon(job)
        usable = [item for item in about.get("series", ()) if item["usable"]]
        if len(usable) > 1:
            choice = self.choose(usable)
            if choice is not None:
                self._start({"input": Path(self._path), "series": choice})
            else:
                self._say(_("Nothing was loaded."))
        else:
            self._start({"input": Path(self._path)})  # the reader says what is wrong where there is none

    def _take(self, job: Job, about: dict) -> None:
        """The array in on a thread, then the node."""

        def done(array: np.ndarray) -> None:
            self._task = None
            warnings = tuple(str(text) for text in about.get("warnings", ()))
            self._loaded(addVolume(array, about["ijk_to_ras"]), warnings)
            abandon(job)

        def failed(error: Exception) -> None:
            self._task = None
            self._say(_("The scan was not read: {why}").format(why=error))
            abandon(job)

        self._task = Task(lambda: np.load(job.path(VOLUME), allow_pickle=False), done, failed)


def addVolume(array: np.ndarray, matrix: list[list[float]]) -> "slicer.vtkMRMLScalarVolumeNode":
    """A CT volume node on the array's own memory, shown as a radiologist looks for emboli."""
    name = slicer.mrmlScene.GenerateUniqueName(_("CTPA"))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1), deep=False))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix)))
    node.SetAndObserveImageData(image)
    views.showEmboliWindow(node)
    return node
