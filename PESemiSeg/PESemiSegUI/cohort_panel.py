"""Owns the cohort of the Fine-tune page: patients with their roles, matched masks and problems."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.cohorts.manifest import ROLES, Case, Manifest, read_manifest, write_manifest
from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import cohort_lists, dicom_database, wording
from .background import Task
from .base import Panel, setEnabled
from .database_dialog import DatabaseDialog
from .job_monitor import JobMonitor, abandon

_VALIDATION = 0.1  # share of the patients for the curves of a run
_PATIENT, _SCAN, _MASK, _ROLE, _SPLIT, _PROBLEM = range(6)


@dataclass(frozen=True)
class _Look:
    """A folder that is to be looked through."""

    source: dict
    test: float  # share of the patients that is held out
    reviewed: bool


class CohortPanel(Panel):
    """Calls `onChange()` when the cohort has changed."""

    def __init__(self, path: str, page, onChange: Callable[[], None]):
        super().__init__(path, page)
        self._onChange = onChange
        self.cases: tuple[Case, ...] = ()
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._boxes: list = []  # the role boxes of the table's rows
        self._dialog: DatabaseDialog | None = None
        self._queue: list[_Look] = []  # what waits for its turn
        self._reviewed = False  # whether what is looked through now was reviewed here
        self._failures = ""  # of what was looked through since the queue was last empty
        self._gathering: Task | None = None
        ui = self.ui
        ui.addFolderButton.connect("clicked()", self._onAddFolder)
        ui.databaseButton.connect("clicked()", self._onDatabase)
        ui.openManifestButton.connect("clicked()", self._onOpen)
        ui.saveManifestButton.connect("clicked()", self._onSave)
        ui.clearCohortButton.connect("clicked()", self._onClear)
        self._show()

    def enter(self) -> None:
        """The DICOM database may have been opened meanwhile."""
        self._updateButtons()

    def cleanup(self) -> None:
        """The module goes."""
        self._monitor.abandon()
        if self._gathering is not None:
            self._gathering.forget()
        super().cleanup()

    def counts(self) -> dict[str, int]:
        """Patients to train with labels, without labels, and held out with labels."""
        return cohort_lists.counts(self.cases)

    def paths(self) -> list[str]:
        """The files that the cohort needs, and those of what waits for its turn."""
        found = [path for case in self.cases for path in (case.image, case.mask, case.lesions) if path]
        return [*map(str, found), *(look.source["path"] for look in self._queue)]

    def write(self) -> "tuple[Path, Path]":
        """Two manifests for a fine-tuning: all labelled cases, and the scans to learn from without labels.

        Raises PESemiSegError.
        """
        return cohort_lists.write(self.cases)

    # filling it

    def _onAddFolder(self) -> None:
        title = _("Folder of scans, or of a data set")
        self.addFolder(str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title)))

    def addFolder(self, path: str) -> None:
        """Look through a folder in a job; what it holds joins the table."""
        if path:
            source = {"path": path, "fallback_site": self.ui.siteEdit.text.strip()}
            self._look(source, self.ui.testSpin.value / 100)

    def addReviewed(self, folder: Path) -> None:
        """A scan that was reviewed, with its mask; it takes the place of the same scan without one."""
        self._look({"path": str(folder), "site": _("reviewed")}, 0.0, reviewed=True)

    def addDatabase(self, files: list) -> None:
        """Series from Slicer's DICOM database: linked into a folder on a thread, then looked through."""
        folder = cohort_lists.newFolder()

        def failed(error: Exception) -> None:
            self._say(_("It did not work: {why}").format(why=error))

        def done(found: Path) -> None:
            source = {"path": str(found), "site": _("DICOM database")}
            self._look(source, self.ui.testSpin.value / 100)

        self._say(_("Collecting the files..."))
        self._gathering = Task(lambda: dicom_database.gather(files, folder), done, failed)

    def _onDatabase(self) -> None:
        self._dialog = DatabaseDialog(self.addDatabase)
        self._dialog.open()

    def _look(self, source: dict, test: float, reviewed: bool = False) -> None:
        """Look through a folder now, or as soon as those before it are in the table."""
        self._queue.append(_Look(source, test, reviewed))
        if self._busy:
            self._say(_("A folder is being looked through; {n} more wait.").format(n=len(self._queue)))
        else:
            self._failures = ""
            self._next()

    @property
    def _busy(self) -> bool:
        return self._monitor.active or (self._task is not None and self._task.active)

    def _next(self) -> None:
        while self._queue and not self._busy:
            look = self._queue.pop(0)
            self._reviewed = look.reviewed
            validation = 0.0 if look.reviewed else _VALIDATION
            params = {"sources": [look.source], "test": look.test, "validation": validation}
            try:
                self._monitor.start(Job.create("cohort", params, folder=cohort_lists.newFolder()))
                self._say(_("Looking through the folder..."))
            except PESemiSegError as error:
                self._fail(str(error))
        self._updateButtons()

    def _fail(self, text: str) -> None:
        """Say what went wrong, and say it still when what waits has been looked through."""
        self._failures = f"{self._failures} {text}".strip()
        self._say(text)

    def _onNews(self, seen: Snapshot) -> None:
        if seen.status.total:
            self._say(
                _("Looking through the folder: scan {done} of {total}").format(
                    done=seen.status.done, total=seen.status.total
                )
            )

    def _onEnd(self, seen: Snapshot) -> None:
        if seen.state == DONE:
            self.open(seen.job.path("manifest.csv"))  # masks that were written anew lie beside it, and stay
        else:
            abandon(seen.job)
            self._reviewed = False
            if seen.state == CANCELLED:
                self._say("")
            else:
                self._fail(_("It did not work: {why}").format(why=seen.message))
            self._next()
        self._updateButtons()

    def _onOpen(self) -> None:
        chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Open a list"), "", "CSV (*.csv)")
        text = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if text:
            self._failures = ""
            self.open(Path(text))

    def open(self, path: Path) -> None:
        """Add the cases of a manifest, which is read on a thread; the table can be edited meanwhile."""
        replacing, self._reviewed = self._reviewed, False

        def take(manifest: Manifest) -> None:
            try:
                self.cases = cohort_lists.joined(self.cases, manifest.cases, replacing).cases
            except PESemiSegError as error:
                failed(error)
                return
            self._show()
            self._next()

        def failed(error: Exception) -> None:
            self._fail(_("The list cannot be used: {why}").format(why=error))
            self._next()

        self._task = Task(lambda: read_manifest(path), take, failed)
        self._updateButtons()

    def _onSave(self) -> None:
        title = _("Save the list")
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, "cohort.csv", "CSV (*.csv)")
        text = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if text:
            try:
                write_manifest(Manifest(self.cases), Path(text))
                self._say(_("Saved {name}").format(name=Path(text).name))
            except PESemiSegError as error:
                self._say(str(error))

    def _onClear(self) -> None:
        self.cases, self._failures = (), ""
        self._show()

    # showing it

    def _show(self) -> None:
        table = self.ui.cohortTable
        for box in self._boxes:
            box.blockSignals(True)
        self._boxes = []
        table.setRowCount(0)
        table.setRowCount(len(self.cases))
        for index, case in enumerate(self.cases):
            cells = {
                _PATIENT: case.key,
                _SCAN: case.image.name,
                _MASK: case.mask.name if case.mask is not None else "",
                _SPLIT: wording.split(case.split),
                _PROBLEM: "; ".join(case.problems),
            }
            for column, text in cells.items():
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(index, column, item)
            table.setCellWidget(index, _ROLE, self._roleBox(index, case))
        table.resizeColumnsToContents()
        self._say(f"{self._summary()} {self._failures}".strip())
        self._updateButtons()
        self._onChange()

    def _roleBox(self, index: int, case: Case) -> object:
        box = qt.QComboBox()
        for role in ROLES:
            box.addItem(wording.role(role), role)
        box.setCurrentIndex(ROLES.index(case.role))
        box.connect("currentIndexChanged(int)", lambda chosen: self.setRole(index, ROLES[chosen]))
        self._boxes.append(box)
        return box

    def setRole(self, index: int, role: str) -> None:
        """Change what one scan is for; without a mask it cannot be labelled."""
        case = self.cases[index]
        if role == "labelled" and case.mask is None:
            self._showRole(index, case.role)
            self._say(_("{patient} has no mask, so it cannot be labelled.").format(patient=case.key))
            return
        self.cases = (*self.cases[:index], replace(case, role=role), *self.cases[index + 1 :])
        self._showRole(index, role)
        self._say(self._summary())
        self._onChange()

    def _showRole(self, index: int, role: str) -> None:
        self._boxes[index].blockSignals(True)
        self._boxes[index].setCurrentIndex(ROLES.index(role))
        self._boxes[index].blockSignals(False)

    def _summary(self) -> str:
        if not self.cases:
            return _("Add the scans of your hospital, and labelled patients that stay in the loop.")
        count = self.counts()
        return _("Patients: {labelled} with labels, {unlabelled} without, {held_out} held out").format(
            **count
        )

    def _say(self, text: str) -> None:
        self.ui.cohortStatus.text = text

    def _updateButtons(self) -> None:
        busy = _("A folder is being looked through") if self._busy else ""
        empty = "" if self.cases else _("The cohort is empty")
        ui = self.ui
        setEnabled(
            ui.addFolderButton, busy, _("A folder of scans or of a data set; masks are matched by themselves")
        )
        database = busy or dicom_database.whyNot()
        setEnabled(
            ui.databaseButton, database, _("CT series from Slicer's DICOM database; their DICOM SEG too")
        )
        setEnabled(ui.openManifestButton, busy, _("A manifest (CSV) that was made before"))
        setEnabled(ui.saveManifestButton, empty, _("Write the cohort as a CSV that one can edit"))
        setEnabled(ui.clearCohortButton, busy or empty, _("Start anew; no file is deleted"))
