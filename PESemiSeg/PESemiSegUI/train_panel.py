"""Owns the fine-tuning of the Fine-tune page: settings, the run in the background, its end."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, CREATED, FAILED, LOST, PAUSED
from PESemiSegLib.jobs.watch import Snapshot, Watch, look
from PESemiSegLib.training.settings import STRATEGY_NAMES

from . import devices, models, train_settings, train_texts, wording
from .background import Task
from .base import Panel, setEnabled
from .cohort_panel import CohortPanel
from .job_monitor import JobMonitor
from .outcome import Outcome
from .train_view import RunView

KINDS = ("finetune", "train")
PRESETS = ("cpu_demo", "modern", "paper", "mask_only")


class TrainPanel(Panel):
    """Follows one run at a time; a run outlives Slicer and is found again. Calls `onModel(name)` at its end."""

    def __init__(self, path: str, page, cohort: CohortPanel, onModel: Callable[[str], None]):
        super().__init__(path, page)
        self._cohort, self._onModel = cohort, onModel
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._seen: Snapshot | None = None
        self._facts: dict = {}
        self._known: list[Job] = []  # all runs, dry ones as well
        self._jobs: list[Job] = []  # those of the box
        ui = self.ui
        ui.presetCombo.addItem(_("the base model's own"), "")
        for name in PRESETS:
            ui.presetCombo.addItem(name, name)
        ui.strategyCombo.addItem(_("the preset's own"), "")
        for name in STRATEGY_NAMES:
            ui.strategyCombo.addItem(name.replace("_", " "), name)
        for widget, act in (
            (ui.dryRunButton, self._onDryRun),
            (ui.trainButton, self._onTrain),
            (ui.copyCommandButton, self._onCopy),
            (ui.pauseButton, self._onPause),
            (ui.finishButton, self._onFinish),
            (ui.cancelButton, self._onCancel),
            (ui.removeRunButton, self._onRemove),
            (ui.trainReportButton, self._onReport),
        ):
            widget.connect("clicked()", act)
        self._view = RunView(ui)
        self._outcome = Outcome(ui, self._say, self._onUsed)
        ui.nameEdit.connect("textChanged(QString)", self._onName)
        ui.runCombo.connect("currentIndexChanged(int)", self._onRun)
        self.setDevices({})

    # what the shell calls

    def refresh(self) -> None:
        """Models may have come; the cohort may be another."""
        combo = self.ui.baseCombo
        before = combo.currentData if combo.count else "demo"
        combo.blockSignals(True)
        combo.clear()
        for entry in models.entries():
            if entry.info is not None and not entry.identifies:
                combo.addItem(entry.name, entry.name)
        combo.setCurrentIndex(max(0, combo.findData(before)))
        combo.blockSignals(False)
        self._updateButtons()

    def enter(self) -> None:
        """Find runs that are at work, also those that an earlier Slicer started."""
        self.refresh()
        self._listRuns()

    def cleanup(self) -> None:
        """Training goes on without Slicer; only a dry run ends with it."""
        if self._monitor.active and self._monitor.job.params.get("dry_run"):
            self._monitor.cancel()
        self._monitor.forget()
        self._outcome.forget()
        super().cleanup()

    def setDevices(self, facts: dict) -> None:
        """Fill the device box from a look at this computer; only torch's devices train."""
        self._facts = facts
        devices.fillForTraining(self.ui.trainDeviceCombo, facts)
        self._updateButtons()

    # starting

    def _onTrain(self) -> None:
        self._start(dry=False)

    def _onDryRun(self) -> None:
        self._start(dry=True)

    def _start(self, dry: bool) -> None:
        try:
            labelled, unlabelled = self._cohort.write()
            params = train_settings.params(self.ui, labelled, unlabelled, dry)
            if not dry:
                params["command"] = train_settings.command(self.ui, labelled, unlabelled)
            job = Job.create("finetune", params, outlives=not dry)
            self._monitor.start(job)
        except (PESemiSegError, OSError) as error:
            self._say(str(error))
            return
        self._clear()
        self._say(_("Starting..."))
        self._listRuns(follow=False)

    def _onCopy(self) -> None:
        try:
            qt.QApplication.clipboard().setText(train_settings.command(self.ui, *self._cohort.write()))
        except (PESemiSegError, OSError) as error:
            self._say(str(error))
            return
        self._say(_("The command is in the clipboard; its two lists name your patients' files."))

    # following

    @property
    def _job(self) -> Job | None:
        """The run that is looked at."""
        return self._monitor.job or (self._seen.job if self._seen is not None else None)

    @property
    def _atWork(self) -> bool:
        """Whether the run that is looked at is at work, or about to be."""
        return self._monitor.active and (self._seen is None or self._seen.state != CREATED)

    def _listRuns(self, follow: bool = True) -> None:
        """Fill the list of runs, the newest first; `follow`: where none is looked at, one that is at work."""
        self._known = [job for job in runner.jobs() if job.kind in KINDS]
        self._jobs = [job for job in self._known if not job.params.get("dry_run")]
        states = {job.id: look(job) for job in self._jobs}
        combo, current = self.ui.runCombo, self._job
        combo.blockSignals(True)
        combo.clear()
        for job in self._jobs:
            combo.addItem(
                f"{job.params.get('name', job.kind)}: {wording.state(states[job.id].state)}", job.id
            )
        if current is not None:
            combo.setCurrentIndex(combo.findData(current.id))
        combo.blockSignals(False)
        if follow and not self._monitor.active:
            active = [job for job in self._jobs if states[job.id].active]
            if current is None or current.id not in {job.id for job in self._known}:
                if self._jobs:
                    self._follow((active or self._jobs)[0])
            elif current.id in {job.id for job in active}:  # resumed by another program
                self._follow(current)
        self._updateButtons()

    def _clear(self) -> None:
        """Another run is looked at, or none: nothing of the one before may stay."""
        self._seen = None
        self._view.clear()
        self._outcome.clear()

    def _follow(self, job: Job) -> None:
        """Take up a run from its beginning, so that its curves are whole."""
        self._clear()
        self.ui.runCombo.blockSignals(True)
        self.ui.runCombo.setCurrentIndex(self.ui.runCombo.findData(job.id))
        self.ui.runCombo.blockSignals(False)
        self._monitor.follow(Watch(job))

    def _onRun(self, index: int) -> None:
        if 0 <= index < len(self._jobs):
            self._monitor.forget()
            self._follow(self._jobs[index])

    def _onNews(self, seen: Snapshot) -> None:
        self._seen = seen
        self._view.show(seen)
        self._say(train_texts.progress(seen))
        self._updateButtons()

    def _onEnd(self, seen: Snapshot) -> None:
        self._seen = seen
        self._view.showEnd(seen)
        self._say(train_texts.ended(seen))
        self._outcome.show(seen)
        self._listRuns(follow=False)

    # steering

    def _onPause(self) -> None:
        """Pause a run that is at work, or resume one that is not."""
        if self._atWork:
            self._monitor.watch.pause()
            self._say(_("Pausing: the checkpoint is being saved..."))
        elif self._seen is not None:
            try:
                self._monitor.start(self._seen.job)
                self._say(_("Resuming..."))
            except PESemiSegError as error:
                self._say(str(error))
        self._updateButtons()

    def _onFinish(self) -> None:
        self._monitor.watch.finish()
        self._say(_("Stopping here; the model is written as it is..."))

    def _onCancel(self) -> None:
        if slicer.app.testingEnabled() or slicer.util.confirmOkCancelDisplay(_("Cancel this run?")):
            if not self._monitor.active:  # it does not answer, but may still live
                self._monitor.follow(Watch(self._seen.job, from_end=True))
            self._monitor.cancel()
            self._say(_("Stopping..."))

    def _onUsed(self, name: str) -> None:
        self._say(_("The Segment panel takes {name} now.").format(name=name))
        self._onModel(name)

    def _onRemove(self) -> None:
        if slicer.util.confirmOkCancelDisplay(_("Remove this run with its checkpoints and its model?")):
            job = self._job
            self._monitor.forget()

            def done(_removed: bool) -> None:
                self._clear()
                self._say("")
                self._listRuns()

            def failed(error: Exception) -> None:
                self._say(_("It did not work: {why}").format(why=error))

            self._task = Task(lambda: runner.remove(job), done, failed)

    def _onReport(self) -> None:
        log = self.ui.trainLogText.plainText
        qt.QApplication.clipboard().setText(train_texts.report(self._seen, log))
        self._say(_("The report is in the clipboard; it holds no patient data."))

    # showing

    def _onName(self, _text: str) -> None:
        self._updateButtons()

    def _say(self, text: str) -> None:
        self.ui.trainStatus.text = text

    def _whyNot(self) -> str:
        return train_settings.whyNot(self.ui, self._cohort.counts(), self._facts)

    def _updateButtons(self) -> None:
        ui, at_work = self.ui, self._atWork
        some = at_work or any(look(job).active for job in self._known)
        busy = _("A run is at work already") if some else ""
        why = busy or self._whyNot()
        setEnabled(ui.trainButton, why, _("Start in the background; it goes on when Slicer is closed"))
        setEnabled(ui.dryRunButton, why, _("Two batches: proves that it fits, and says how long it takes"))
        setEnabled(
            ui.copyCommandButton, self._whyNot(), _("The command line of this run, for another computer")
        )
        state = self._seen.state if self._seen is not None else ""
        resumable = not at_work and state in (PAUSED, CANCELLED, FAILED, LOST)
        ui.pauseButton.text = _("Resume") if resumable else _("Pause")
        idle = _("No run is at work")
        resume = busy if resumable else idle
        setEnabled(ui.pauseButton, "" if at_work else resume, _("Save a checkpoint and stop; resume later"))
        setEnabled(ui.finishButton, "" if at_work else idle, _("End the training here and write the model"))
        unheard = resumable and state == LOST  # it may still live
        setEnabled(ui.cancelButton, "" if at_work or unheard else idle, _("Stop; the checkpoint stays"))
        empty = "" if self._view.curves.names else _("There are no figures yet")
        setEnabled(ui.curvesButton, empty, _("Show the losses and the validation in Slicer's plot view"))
        none = "" if self._job is not None else _("There is no run yet")
        stop = _("It is at work: cancel it first") if at_work else ""
        setEnabled(ui.removeRunButton, none or stop, _("Delete its files, checkpoints and model too"))
