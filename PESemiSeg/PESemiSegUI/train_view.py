"""Owns what the Fine-tune page shows of the run that is looked at: progress, curves, health, example slice, log."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

from PESemiSegLib.jobs.files import tail
from PESemiSegLib.jobs.folder import LOG, Job
from PESemiSegLib.jobs.status import FAILED, LOST
from PESemiSegLib.jobs.watch import Snapshot

from . import train_texts
from .curves import Curves


class RunView:
    """One run at a time. `ui`: the page's widgets."""

    def __init__(self, ui):
        self._ui = ui
        self.curves = Curves()
        ui.curvesButton.connect("clicked()", self._onCurves)

    def clear(self) -> None:
        """Another run is looked at, or none."""
        self.curves = Curves()
        ui = self._ui
        ui.healthLabel.text = ""
        ui.exampleFrame.visible = ui.trainProgress.visible = False
        ui.trainLogText.clear()

    def show(self, seen: Snapshot) -> None:
        """One look at it while it is at work, with all that happened since the last one."""
        for event in seen.events:
            self.curves.add(event)
            if event["kind"] == "health":
                self._ui.healthLabel.text = train_texts.health(event)
            elif event["kind"] == "rehearsal":
                self._ui.planLabel.text = train_texts.plan(event)
            elif event["kind"] == "example":
                self._showExample(seen.job, event)
        self.curves.refresh()
        bar, status = self._ui.trainProgress, seen.status
        bar.visible = not seen.ended
        bar.setRange(0, status.total)
        bar.value = status.done
        self._showLog(seen.job)

    def showEnd(self, seen: Snapshot) -> None:
        """The last look; the log comes forward where something went wrong."""
        ui = self._ui
        ui.trainProgress.visible = False
        self._showLog(seen.job)
        if seen.state in (FAILED, LOST):
            ui.trainLogFold.collapsed = False

    def _showLog(self, job: Job) -> None:
        text = "\n".join(tail(job.path(LOG)))
        if text != self._ui.trainLogText.plainText:
            self._ui.trainLogText.setPlainText(text)

    def _showExample(self, job: Job, event: dict) -> None:
        """The slice that was drawn after the last look at the validation."""
        picture = qt.QPixmap(str(job.folder / "run" / "examples" / Path(event["file"]).name))
        if picture.isNull():
            return
        self._ui.examplePicture.setPixmap(picture)
        caption = _("Iteration {n}: label blue, model orange")
        self._ui.exampleCaption.text = caption.format(n=event["iteration"])
        self._ui.exampleFrame.visible = True

    def _onCurves(self) -> None:
        self.curves.show()
