"""Owns the fine-tuning of the Fine-tune page: settings, the run in the background, its end."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, FAILED, LOST, PAUSED
from PESemiSegLib.jobs.watch import Snapshot, Watch, look
from PESemiSegLib.training.settings import STRATEGY_NAMES

from . import devices, models, train_settings, train_texts, wording
from .background import Task
from .base import Panel, setEnabled
from .cohort_panel import CohortPanel
from .curves import Curves
from .job_monitor import JobMonitor
from .outcome import Outcome

KINDS = ("finetune", "train")
PRESETS = ("cpu_demo", "modern", "paper", "mask_only")


class TrainPanel(Panel):
    """Follows one run at a time; a run outlives Slicer and is found again. Calls `onModel(name)` at its end."""

    def __init__(self, path: str, page, cohort: CohortPanel, onModel: Callable[[str], None]):
        super().__init__(path, page)
        self._cohort, self._onModel = cohort, onModel
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._curves = Curves()
        self._seen: Snapshot | None = None
        self._facts: dict = {}
        self._jobs: list[Job] = []
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
            (ui.curvesButton, self._onCurves),
            (ui.removeRunButton, self._onRemove),
        ):
            widget.connect("clicked()", act)
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
            self._monitor.forget()
            self._curves = Curves()
            self._seen = None
            self._monitor.start(job)
        except (PESemiSegError, OSError) as error:
            self._say(str(error))
            return
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

    def _listRuns(self, follow: bool = True) -> None:
        """Fill the list of runs, the newest first, and follow one that is at work."""
        self._jobs = [job for job in runner.jobs() if job.kind in KINDS and not job.params.get("dry_run")]
        combo, current = self.ui.runCombo, self._monitor.job
        combo.blockSignals(True)
        combo.clear()
        for job in self._jobs:
            combo.addItem(f"{job.params.get('name', job.kind)}: {wording.state(look(job).state)}", job.id)
        if current is not None:
            combo.setCurrentIndex(combo.findData(current.id))
        combo.blockSignals(False)
        if follow and current is None and self._jobs:
            active = [job for job in self._jobs if look(job).active]
            self._follow((active or self._jobs)[0])
        self._updateButtons()

    def _follow(self, job: Job) -> None:
        """Take up a run from its beginning, so that its curves are whole."""
        self._curves, self._seen = Curves(), None
        self.ui.healthLabel.text = ""
        self.ui.exampleFrame.visible = False
        self._outcome.clear()
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
        for event in seen.events:
            self._curves.add(event)
            if event["kind"] == "health":
                self.ui.healthLabel.text = train_texts.health(event)
            elif event["kind"] == "rehearsal":
                self.ui.planLabel.text = train_texts.plan(event)
            elif event["kind"] == "example":
                self._showExample(seen.job, event)
        self._curves.refresh()
        status = seen.status
        self.ui.trainProgress.visible = not seen.ended
        self.ui.trainProgress.setRange(0, status.total)
        self.ui.trainProgress.value = status.done
        self._say(train_texts.progress(seen))
        self._updateButtons()

    def _showExample(self, job: Job, event: dict) -> None:
        """The slice that was drawn after the last look at the validation."""
        picture = qt.QPixmap(str(job.folder / "run" / "examples" / Path(event["file"]).name))
        if picture.isNull():
            return
        self.ui.examplePicture.setPixmap(picture)
        caption = _("Iteration {n}: label blue, model orange")
        self.ui.exampleCaption.text = caption.format(n=event["iteration"])
        self.ui.exampleFrame.visible = True

    def _onEnd(self, seen: Snapshot) -> None:
        self._seen = seen
        self.ui.trainProgress.visible = False
        self._say(train_texts.ended(seen))
        self._outcome.show(seen)
        self._listRuns(follow=False)
        self.ui.runCombo.blockSignals(True)
        self.ui.runCombo.setCurrentIndex(self.ui.runCombo.findData(seen.job.id))
        self.ui.runCombo.blockSignals(False)
        self._updateButtons()

    # steering

    def _onPause(self) -> None:
        """Pause a run that is at work, or resume one that is not."""
        if self._monitor.active:
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
            self._monitor.cancel()
            self._say(_("Stopping..."))

    def _onCurves(self) -> None:
        self._curves.show()

    def _onUsed(self, name: str) -> None:
        self._say(_("The Segment panel takes {name} now.").format(name=name))
        self._onModel(name)

    def _onRemove(self) -> None:
        if slicer.util.confirmOkCancelDisplay(_("Remove this run with its checkpoints and its model?")):
            job = self._seen.job
            self._seen = None
            self._outcome.clear()

            def failed(error: Exception) -> None:
                self._say(_("It did not work: {why}").format(why=error))

            self._task = Task(lambda: runner.remove(job), lambda _done: self._listRuns(), failed)

    # showing

    def _onName(self, _text: str) -> None:
        self._updateButtons()

    def _say(self, text: str) -> None:
        self.ui.trainStatus.text = text

    def _whyNot(self) -> str:
        return train_settings.whyNot(self.ui, self._cohort.counts(), self._facts)

    def _updateButtons(self) -> None:
        ui, at_work = self.ui, self._monitor.active
        busy = _("A run is at work already") if at_work else ""
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
        setEnabled(
            ui.pauseButton,
            "" if at_work or resumable else idle,
            _("Save a checkpoint and stop; resume later"),
        )
        setEnabled(ui.finishButton, "" if at_work else idle, _("End the training here and write the model"))
        setEnabled(ui.cancelButton, "" if at_work else idle, _("Stop; the checkpoint stays"))
        empty = "" if self._curves.names else _("There are no figures yet")
        setEnabled(ui.curvesButton, empty, _("Show the losses and the validation in Slicer's plot view"))
        setEnabled(ui.removeRunButton, busy, _("Delete its files"))
