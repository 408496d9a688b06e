"""Owns what came of a fine-tuning: before against after, the page, and what may be done with the new model."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import models
from .background import Task
from .base import setEnabled

_NO_LABELS = "no labels"  # the word of a verdict that is none


class Outcome:
    """The frame at the end of the Fine-tune page.

    Args:
        ui: the page's widgets. say: shows a sentence. used: gets the name of a model that was taken up.
    """

    def __init__(self, ui, say: Callable[[str], None], used: Callable[[str], None]):
        self._ui, self._say, self._used = ui, say, used
        self._job: Job | None = None
        self._task: Task | None = None
        ui.useModelButton.connect("clicked()", self._onUse)
        ui.exportModelButton.connect("clicked()", self._onExport)
        ui.pageButton.connect("clicked()", self._onPage)
        self.clear()

    def show(self, seen: Snapshot) -> None:
        """Show how a run ended; nothing for one that made no model."""
        done = seen.state == DONE and not seen.job.params.get("dry_run")
        self._job = seen.job if done else None
        self._ui.verdictFrame.visible = done
        if done:
            self._ui.verdictText.text = " ".join(map(str, self._verdict().get("sentences", ())))
        self._update()

    def clear(self) -> None:
        """Another run is looked at, or none."""
        self._job = None
        self._ui.verdictFrame.visible = False
        self._update()

    def forget(self) -> None:
        """The module goes."""
        if self._task is not None:
            self._task.forget()

    def whyNot(self) -> str:
        """Why the new model cannot be used yet; empty where it can."""
        if self._job is None:
            return _("There is no new model yet")
        if self._verdict().get("verdict", _NO_LABELS) == _NO_LABELS:
            return _(
                "No labelled patient was held out, so nothing says whether it is better than its base. Hold some "
                "out and fine-tune again; or export the model, and import it on the Models page."
            )
        return ""

    def _update(self) -> None:
        none = "" if self._job is not None else _("There is no new model yet")
        setEnabled(self._ui.useModelButton, self.whyNot(), _("Put it on the list, and segment with it"))
        setEnabled(self._ui.exportModelButton, none, _("One .zip; it holds no patient data"))
        page = "" if self._job is not None and self._page().is_file() else _("There is no page of this run")
        setEnabled(self._ui.pageButton, page, _("Patient by patient, before and after"))

    def _verdict(self) -> dict:
        return read_json(self._job.path("verdict.json")) or {}

    def _page(self) -> Path:
        return self._job.folder / "run" / "evaluation" / "evaluation.html"

    def _package(self) -> Path:
        return self._job.folder / "run" / "model"

    def _onUse(self) -> None:
        package = self._package()
        self._act(lambda: models.inStore(package) or models.store().import_(package).info.name, self._used)

    def _onPage(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._page())))

    def _onExport(self) -> None:
        kinds, name = _("Model packages") + " (*.zip)", f"{self._job.params.get('name', 'model')}.zip"
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export the model"), name, kinds)
        text = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if text:
            self.give(Path(text))

    def give(self, path: Path) -> None:
        """Write the new model as a .zip, on a thread; the dialog has asked about replacing."""
        from PESemiSegLib.models.archive import pack

        pattern, package = _("Exported to {name}."), self._package()
        done = pattern.format(name=path.name)
        self._act(lambda: pack(package, path, overwrite=True), lambda _path: self._say(done))

    def _act(self, work: Callable[[], object], done: Callable[[object], None]) -> None:
        def failed(error: Exception) -> None:
            self._say(_("It did not work: {why}").format(why=error))

        self._task = Task(work, done, failed)
