"""Owns "Identify PE on non-contrast CT": choose a scan and a model, run, read the probability, see the map."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import qt
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import export, identified, models, scene, segment_texts, views
from .background import Task
from .base import AMBER, Panel, setEnabled
from .job_monitor import JobMonitor, abandon
from .segment_run import INPUT, News

_OPACITY = 0.5


class IdentifyPanel(Panel):
    """At most one run at a time; it stops with its scene."""

    def __init__(self, path: str, page):
        super().__init__(path, page)
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._job: Job | None = None
        self._volume = None
        self._entries: list[models.Entry] = []
        ui = self.ui
        ui.warningLabel.setStyleSheet(AMBER)
        ui.plainSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onInput)
        ui.identifierCombo.connect("currentIndexChanged(int)", self._onModel)
        ui.identifyButton.connect("clicked()", self._onIdentify)
        ui.mapCheck.connect("toggled(bool)", self._onMap)
        ui.pageButton.connect("clicked()", self._onPage)

    # what the shell calls

    def refresh(self) -> None:
        """Models may have come or gone, and the scene may be another."""
        combo, chosen = self.ui.identifierCombo, self.ui.identifierCombo.currentData
        self._entries = [entry for entry in models.entries() if entry.identifies]
        combo.blockSignals(True)
        combo.clear()
        for entry in self._entries:
            combo.addItem(entry.name, entry.name)
        combo.setCurrentIndex(max(0, combo.findData(chosen)) if self._entries else -1)
        combo.blockSignals(False)
        self._onModel(0)

    def enter(self) -> None:
        """The list of models may have changed meanwhile."""
        self.refresh()

    def sceneClosing(self) -> None:
        """The volume goes: so does its run."""
        self._abandon()
        self._rest("")

    def cleanup(self) -> None:
        """It belongs to this Slicer: it stops with it."""
        self._abandon()
        super().cleanup()

    @property
    def running(self) -> bool:
        """Whether a scan is being read."""
        return self._job is not None

    # choosing

    def _entry(self) -> models.Entry | None:
        index = self.ui.identifierCombo.currentIndex
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def _onModel(self, _index: int) -> None:
        entry = self._entry()
        self.ui.identifierMark.text = (
            _("No model of this kind is here: import one on the Models page. None comes with the program.")
            if entry is None
            else models.mark(entry)
        )
        self.ui.identifierMark.setStyleSheet(AMBER if entry is None or entry.madeUpOnly else "")
        self._update()

    def _onInput(self, _node: object) -> None:
        self._update()

    def _update(self) -> None:
        button, volume = self.ui.identifyButton, self.ui.plainSelector.currentNode()
        result = identified.find(volume)
        none = "" if result is not None else _("This volume was not identified yet")
        setEnabled(self.ui.mapCheck, none, _("Relative to its own highest value: it shows in every scan"))
        gone = (
            ""
            if result is not None and export.reportOf(result).is_file()
            else _("There is no page of this scan")
        )
        setEnabled(self.ui.pageButton, gone, _("Probability, slices with the map, input check and settings"))
        if self.running:
            button.text = _("Cancel")
            setEnabled(button, "", _("Stop within two seconds"))
            return
        button.text = _("Identify PE")
        why = segment_texts.whyNot(volume, self._entry(), "")
        setEnabled(button, why, _("Tell the probability of embolism of the whole scan"))

    # running

    def _onIdentify(self) -> None:
        if self.running:
            self.ui.identifyButton.enabled = False
            self._say(_("Stopping..."))
            self._monitor.cancel()
            return
        self.start()

    def start(self, **settings) -> None:
        """Identify the scan that is chosen; `settings` are those of an identify job."""
        volume, entry = self.ui.plainSelector.currentNode(), self._entry()
        params = {"ijk_to_ras": scene.ijkToRas(volume), "model": entry.name, "settings": settings}
        try:
            self._job, self._volume = Job.create("identify", params), volume
        except PESemiSegError as error:
            self._rest(str(error))
            return
        self._busy(_("Handing the volume over"), 0, 0)
        self._task = Task(scene.writer(volume, self._job.path(INPUT)), self._onWritten, self._onFailed)

    def _onWritten(self, _result: object) -> None:
        try:
            self._monitor.start(self._job)
        except PESemiSegError as error:
            self._finish(_("It did not work: {why}").format(why=error))

    def _onNews(self, seen: Snapshot) -> None:
        status = seen.status
        news = News("", status.stage, status.done, status.total, status.seconds_left)
        self._busy(segment_texts.progress(news), status.done, status.total)

    def _onEnd(self, seen: Snapshot) -> None:
        if seen.state == CANCELLED:
            self._finish(_("Stopped. Nothing was changed."), gone=True)
        elif seen.state != DONE:
            self._finish(_("It did not work: {why}").format(why=seen.message))
        elif self._volume.GetScene() is None:
            self._finish(_("The volume was removed from the scene meanwhile."), gone=True)
        else:
            folder = seen.job.folder
            self._task = Task(lambda: identified.load(folder), self._onLoaded, self._onFailed)

    def _onLoaded(self, found: "tuple[dict, np.ndarray, np.ndarray]") -> None:
        about, mask, cam = found
        result = identified.show(self._volume, self._job.id, about, mask, cam)
        self.ui.mapCheck.checked = True
        self._showMap(result, True)
        self._finish(self.sentence(about))

    def sentence(self, about: dict) -> str:
        """The probability, with what it must not be taken for and what the input check had to say."""
        text = _("Probability of embolism: {p} ({n} windows, {marks} marks). Not backed by evidence.").format(
            p=f"{about['pe_probability']:.2f}",
            n=len(about["window_probabilities"]),
            marks=len(about["findings"]),
        )
        said = [line["text"] for line in about["check"]["sentences"] if line["level"] != "ok"]
        if said:
            text += " " + _("Mind the input check: {what}").format(what=" ".join(said))
        return text

    def _onFailed(self, error: Exception) -> None:
        self._finish(_("The volume or the result could not be copied: {why}").format(why=error))

    def _finish(self, text: str, *, gone: bool = False) -> None:
        """A run has ended; `gone`: nothing of it is wanted. Of others files and log stay, but not the scan."""
        job, self._job, self._volume, self._task = self._job, None, None, None
        if gone:
            abandon(job)
        elif job is not None:
            with suppress(OSError):
                Path(job.path(INPUT)).unlink(missing_ok=True)
        self._rest(text)

    def _abandon(self) -> None:
        if self._task is not None:
            self._task.forget()
        self._monitor.forget()
        job, self._job, self._volume = self._job, None, None
        abandon(job)

    def _busy(self, text: str, done: int, total: int) -> None:
        bar = self.ui.identifyProgress
        bar.visible = True
        bar.setRange(0, total)
        bar.value = done
        self._say(text)
        self._update()

    def _rest(self, text: str) -> None:
        self.ui.identifyProgress.visible = False
        self._say(text)
        self._update()

    def _say(self, text: str) -> None:
        self.ui.identifyStatus.text = text

    # looking

    def _onMap(self, shown: bool) -> None:
        result = identified.find(self.ui.plainSelector.currentNode())
        if result is not None:
            self._showMap(result, shown)

    def _showMap(self, result, shown: bool) -> None:
        volume, cam = scene.volumeOf(result), result.GetNodeReference(scene.CAM)
        views.showOverlay(volume, cam if shown else None, opacity=_OPACITY, threshold=0.1, legend=False)

    def _onPage(self) -> None:
        page = export.reportOf(identified.find(self.ui.plainSelector.currentNode()))
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(page)))
