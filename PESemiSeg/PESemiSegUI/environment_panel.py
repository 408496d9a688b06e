"""Owns the Environment panel: what this computer can do, and how what is missing gets installed."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import places
from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import DONE
from PESemiSegLib.jobs.watch import Snapshot

from . import cohort_lists, disk, install, machine, wording
from .background import Task
from .base import Panel, setEnabled
from .job_monitor import JobMonitor, abandon


class EnvironmentPanel(Panel):
    """Calls `onProbe(facts)` when this computer was looked at; asks `cohortPaths()` which files are in use."""

    def __init__(
        self,
        path: str,
        page,
        onProbe: Callable[[dict], None],
        requirements: str,
        trainingRequirements: str,
        cohortPaths: Callable[[], list[str]],
    ):
        super().__init__(path, page)
        self._onProbe, self._cohortPaths = onProbe, cohortPaths
        self._requirements, self._trainingRequirements = requirements, trainingRequirements
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._probed = self._tidied = False
        self._said = ""  # by an installer, until the look after it has ended
        ui = self.ui
        ui.pythonPath.currentPath = machine.python() or ""
        ui.wheelPath.currentPath = machine.value("wheels")
        ui.probeButton.connect("clicked()", self.probe)
        ui.installButton.connect("clicked()", self._onInstall)
        ui.torchButton.connect("clicked()", self._onTorch)
        ui.trainingButton.connect("clicked()", self._onTraining)
        ui.repairButton.connect("clicked()", self._onRepair)
        ui.pythonButton.connect("clicked()", self._onPython)
        ui.clearButton.connect("clicked()", self._onClear)
        ui.clearCohortsButton.connect("clicked()", self._onClearCohorts)
        ui.jobsFolderLabel.text = str(places.jobs_folder())
        ui.cohortsFolderLabel.text = str(cohort_lists.root())
        for button in (ui.clearButton, ui.clearCohortsButton):
            setEnabled(button, _("There is none"), "")
        self._show(machine.rememberedProbe())

    def enter(self) -> None:
        """Once per start look at this computer, in a process of its own, and tidy up; count what is on the disk."""
        if not self._probed:
            self.probe()
        self._countDisk()

    def cleanup(self) -> None:
        """The module goes."""
        self._monitor.abandon()
        super().cleanup()

    def probe(self) -> None:
        """Start a look at this computer."""
        if self._monitor.active:
            return
        self._probed = True
        self._say(_("Looking at this computer..."))
        try:
            self._monitor.start(Job.create("probe", {}))
        except PESemiSegError as error:
            self._say(str(error))
            self._said = ""
        self._updateButtons()

    def _onNews(self, _seen: Snapshot) -> None:
        """The end tells it all."""

    def _onEnd(self, seen: Snapshot) -> None:
        if seen.state == DONE:
            facts = read_json(seen.job.path("probe.json")) or {}
            machine.rememberProbe(facts)
            self._show(facts)
            self._onProbe(facts)
            self._say("")
        else:
            why = f"{seen.message} {' '.join(seen.log_tail[-3:])}".strip()
            self._say(_("The look at this computer failed: {why}").format(why=why))
        self._said = ""
        abandon(seen.job)
        self._updateButtons()

    def _say(self, text: str) -> None:
        """Show a sentence after what an installer has said."""
        self.ui.environmentStatus.text = f"{self._said} {text}".strip()

    def _show(self, facts: dict) -> None:
        self._facts = facts
        table, rows = self.ui.environmentTable, install.rows(facts)
        table.setRowCount(len(rows))
        for index, (part, state) in enumerate(rows):
            for column, text in enumerate((part, state)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(index, column, item)
        table.resizeColumnToContents(0)
        self.ui.environmentSummary.text = install.summary(facts)
        self._updateButtons()

    def _updateButtons(self) -> None:
        ui, busy = self.ui, _("A look at this computer is on its way") if self._monitor.active else ""
        setEnabled(ui.probeButton, busy, _("Look at this computer again, in a process of its own"))
        other = _("Another Python computes: install the packages there") if machine.python() else ""
        small = _("All of it is there") if install.smallSetIsThere(self._facts) else ""
        setEnabled(
            ui.installButton, busy or other or small, _("Install the small set with Slicer's own installer")
        )
        torch = _("PyTorch is there and works") if self._facts.get("torch", {}).get("usable") else ""
        setEnabled(
            ui.torchButton,
            busy or other or torch,
            _("Slicer's PyTorch extension picks the build for this GPU"),
        )
        first = _("Install PyTorch first: pip's own choice may not fit this GPU") if not torch else ""
        there = _("All of it is there") if install.trainingSetIsThere(self._facts) else ""
        setEnabled(
            ui.trainingButton,
            busy or other or first or there,
            _("What fine-tuning needs beside PyTorch, with Slicer's own installer"),
        )
        broken = "" if install.torchIsBroken(self._facts) else _("There is no half-installed PyTorch")
        setEnabled(
            ui.repairButton, busy or other or broken, _("Remove what is left of a PyTorch that does not work")
        )
        setEnabled(ui.pythonButton, busy, _("Take it from the next run on, and look at it now"))

    def _onInstall(self) -> None:
        self._try(lambda: install.smallSet(self._requirements, self._wheels()))

    def _onTraining(self) -> None:
        self._try(lambda: install.trainingSet(self._trainingRequirements, self._wheels()))

    def _wheels(self) -> str:
        machine.setValue("wheels", self.ui.wheelPath.currentPath)
        return self.ui.wheelPath.currentPath

    def _onTorch(self) -> None:
        self._try(install.torch)

    def _onRepair(self) -> None:
        if slicer.util.confirmOkCancelDisplay(_("Remove what is left of PyTorch from Slicer's Python?")):
            self._try(install.removeTorch)

    def _try(self, act: Callable[[], str]) -> None:
        """Installing shows Slicer's own dialog; afterwards this computer is looked at again."""
        try:
            self._said = act()
        except Exception as error:  # Slicer raises RuntimeError, CalledProcessError and others here
            self.ui.environmentStatus.text = _("It did not work: {why}").format(why=error)
            return
        self.probe()

    def _onPython(self) -> None:
        machine.setValue("python", self.ui.pythonPath.currentPath)
        self.probe()

    def _countDisk(self) -> None:
        """Add up what runs and cohorts take, on a thread; the first time after tidying up."""
        if self._task is not None and self._task.active:
            return
        work, self._tidied = disk.use if self._tidied else disk.tidy, True
        self._task = Task(work, self._showDisk, lambda error: None)

    def _showDisk(self, use: disk.Use) -> None:
        ui, text = self.ui, _("{n} runs, {size}")
        ui.diskLabel.text = text.format(n=use.runs, size=wording.size(use.run_bytes))
        text = _("{n} folders, {size}")
        ui.cohortDiskLabel.text = text.format(n=use.cohorts, size=wording.size(use.cohort_bytes))
        none = _("There is none")
        tip = _("Models, scenes, and fine-tunings that can go on or whose model is not in use yet are kept")
        setEnabled(ui.clearButton, "" if use.runs else none, tip)
        tip = _(
            "What the list on the Fine-tune page, runs that can go on, and the last ten minutes need is kept"
        )
        setEnabled(ui.clearCohortsButton, "" if use.cohorts else none, tip)

    def _onClear(self) -> None:
        question = _(
            "Remove the files of finished runs? Their reports are lost. Models, scenes, and fine-tunings that can "
            "go on or whose model is not on the list of models are kept; the Fine-tune page removes those."
        )
        if slicer.util.confirmOkCancelDisplay(question):
            self._task = Task(disk.removeRuns, self._showDisk, lambda error: None)

    def _onClearCohorts(self) -> None:
        question = _(
            "Delete lists, reviewed scans with their masks, and copies from the DICOM database that neither the "
            "list on the Fine-tune page nor a run that can go on needs? A list that you saved elsewhere may name "
            "them: open it on the Fine-tune page first, and they are kept."
        )
        if slicer.util.confirmOkCancelDisplay(question):
            paths = self._cohortPaths()
            self._task = Task(lambda: disk.removeCohorts(paths), self._showDisk, lambda error: None)
