"""Owns the fine-tuning of the Fine-tune page: settings, the run in the background, its end."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import CANCELLED, DONE, FAILED, LOST, PAUSED
from PESemiSegLib.jobs.watch import Snapshot, Watch, look
from PESemiSegLib.training.settings import STRATEGY_NAMES

from . import models, wording
from .background import Task
from .base import Panel, setEnabled
from .cohort_panel import CohortPanel
from .curves import Curves
from .job_monitor import JobMonitor

KINDS = ("finetune", "train")
PRESETS = ("cpu_demo", "modern", "paper", "mask_only")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class TrainPanel(Panel):
    """Follows one run at a time; a run outlives Slicer and is found again. Calls `onModel(name)` at its end."""

    def __init__(self, path: str, page, cohort: CohortPanel, onModel: Callable[[str], None]):
        super().__init__(path, page)
        self._cohort, self._onModel = cohort, onModel
        self._monitor = JobMonitor(self._onNews, self._onEnd)
        self._curves = Curves()
        self._seen: Snapshot | None = None
        self._facts: dict = {}
        self._task: Task | None = None
        self._jobs: list[Job] = []
        self._plan = ""
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
            (ui.useModelButton, self._onUse),
            (ui.exportModelButton, self._onExport),
            (ui.removeRunButton, self._onRemove),
        ):
            widget.connect("clicked()", act)
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
            if entry.info is not None:
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
        if self._task is not None:
            self._task.forget()
        super().cleanup()

    def setDevices(self, facts: dict) -> None:
        """Fill the device box from a look at this computer; only torch's devices train."""
        self._facts = facts
        combo = self.ui.trainDeviceCombo
        combo.clear()
        for device in facts.get("devices", ()):
            if device.get("usable") and device["device"] != "cpu":
                combo.addItem(f"{device['device']}: {device.get('name', '')}", device["device"])
        combo.addItem(_("CPU (slow)"), "cpu")
        self._updateButtons()

    # starting

    def params(self, labelled: Path, unlabelled: Path, dry: bool = False) -> dict:
        """Parameters of the fine-tune job."""
        ui, settings = self.ui, {}
        if ui.hoursSpin.value > 0:
            settings["max_minutes"] = 60 * ui.hoursSpin.value
        params = {
            "base": ui.baseCombo.currentData,
            "labelled": labelled,
            "unlabelled": [str(unlabelled)],
            "device": ui.trainDeviceCombo.currentData,
            "name": ui.nameEdit.text,
            "overrides": settings,
            "preset": ui.presetCombo.currentData or None,
            "strategy": ui.strategyCombo.currentData or None,
            "dry_run": dry or None,
        }
        return {name: value for name, value in params.items() if value is not None}

    def command(self, labelled: Path, unlabelled: Path) -> str:
        """The command line of the same run, for a cluster."""
        params = self.params(labelled, unlabelled)
        base = next(entry.folder for entry in models.entries() if entry.name == params["base"])
        words = ["pesemiseg", "finetune", "--base", str(base), "--labelled", str(labelled)]
        words += ["--unlabelled", str(unlabelled), "--device", params["device"], "--name", params["name"]]
        for name in ("preset", "strategy"):
            words += [f"--{name}", params[name]] if name in params else []
        if "max_minutes" in params["overrides"]:
            words += ["--minutes", f"{params['overrides']['max_minutes']:g}"]
        return shlex.join([*words, "-o", "RUN"])

    def _onTrain(self) -> None:
        self._start(dry=False)

    def _onDryRun(self) -> None:
        self._start(dry=True)

    def _start(self, dry: bool) -> None:
        try:
            labelled, unlabelled = self._cohort.write()
            params = self.params(labelled, unlabelled, dry)
            if not dry:
                params["command"] = self.command(labelled, unlabelled)
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
            qt.QApplication.clipboard().setText(self.command(*self._cohort.write()))
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
        self.ui.verdictFrame.visible = False
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
                bad, good = event.get("warnings") or (), event.get("sentences") or ()
                self.ui.healthLabel.text = "\n".join(
                    [f"⚠ {text}" for text in bad] + [t for t in good if t not in bad]
                )
            elif event["kind"] == "rehearsal":
                self._showPlan(event)
        self._curves.refresh()
        status = seen.status
        self.ui.trainProgress.visible = not seen.ended
        self.ui.trainProgress.setRange(0, status.total)
        self.ui.trainProgress.value = status.done
        text = wording.stage(status.stage) if status.stage else wording.state(seen.state)
        if status.total:
            text += _(": {done} of {total}").format(done=status.done, total=status.total)
        if status.seconds_left is not None:
            text += ", " + _("{time} left").format(time=wording.duration(status.seconds_left))
        self._say(text)
        self._updateButtons()

    def _onEnd(self, seen: Snapshot) -> None:
        self._seen = seen
        self.ui.trainProgress.visible = False
        ended = {
            DONE: _("Done: the new model is ready."),
            PAUSED: _("Paused. Resume goes on where it stopped."),
            CANCELLED: _("Cancelled."),
        }
        if seen.job.params.get("dry_run"):
            ended[DONE] = _("The dry run went well.")
        why = " ".join([seen.message, *seen.log_tail[-2:]]).strip()
        self._say(ended.get(seen.state) or _("It did not work: {why}").format(why=why))
        if seen.state == DONE and not seen.job.params.get("dry_run"):
            self._showVerdict(seen.job)
        self._listRuns(follow=False)
        self.ui.runCombo.blockSignals(True)
        self.ui.runCombo.setCurrentIndex(self.ui.runCombo.findData(seen.job.id))
        self.ui.runCombo.blockSignals(False)
        self._updateButtons()

    def _showPlan(self, found: dict) -> None:
        memory = found.get("memory_mb")
        size = "" if memory is None else _(", {size} of memory").format(size=wording.size(memory * 1e6))
        self._plan = _("About {time}{memory}.").format(
            time=wording.duration(3600 * found["hours"]), memory=size
        )
        self.ui.planLabel.text = "\n".join([self._plan, *found.get("timeline", ())])

    def _showVerdict(self, job: Job) -> None:
        verdict = read_json(job.path("verdict.json"))
        if verdict is None:
            text = _("No labelled patient was held out, so nothing says whether the new model is better.")
        else:
            text = " ".join(str(sentence) for sentence in verdict.get("sentences", ()))
        self.ui.verdictText.text = text
        self.ui.verdictFrame.visible = True

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

    def _onUse(self) -> None:
        self._act(lambda: models.store().import_(self._package()).info.name, self._onUsed)

    def _onUsed(self, name: str) -> None:
        self._say(_("The Segment panel takes {name} now.").format(name=name))
        self._onModel(name)

    def _onExport(self) -> None:
        kinds, name = _("Model packages") + " (*.zip)", f"{self._seen.job.params.get('name', 'model')}.zip"
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export the model"), name, kinds)
        text = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if text:
            from PESemiSegLib.models.archive import pack

            pattern = _("Exported to {name}.")
            package = self._package()
            self._act(
                lambda: pack(package, Path(text), overwrite=True),
                lambda _n: self._say(pattern.format(name=text)),
            )

    def _onRemove(self) -> None:
        if slicer.util.confirmOkCancelDisplay(_("Remove this run with its checkpoints and its model?")):
            job = self._seen.job
            self._seen = None
            self.ui.verdictFrame.visible = False
            self._act(lambda: runner.remove(job), lambda _done: self._listRuns())

    def _package(self) -> Path:
        return self._seen.job.folder / "run" / "model"

    def _act(self, work: Callable[[], object], done: Callable[[object], None]) -> None:
        def failed(error: Exception) -> None:
            self._say(_("It did not work: {why}").format(why=error))

        self._task = Task(work, done, failed)

    # showing

    def _onName(self, _text: str) -> None:
        self._updateButtons()

    def _say(self, text: str) -> None:
        self.ui.trainStatus.text = text

    def _whyNot(self) -> str:
        """Why no fine-tuning can start now."""
        count, name = self._cohort.counts(), self.ui.nameEdit.text
        training = self._facts.get("training", {})
        if training and not training.get("usable"):
            return _("This Python cannot train: {why} (see Environment)").format(why=training.get("why", ""))
        if not count["labelled"]:
            return _("Add labelled patients first: they stay in the loop")
        if not count["unlabelled"]:
            return _("Add scans without labels first: they are what is learnt from")
        if not _NAME.fullmatch(name) or ".." in name:
            return _("Give the new model a name of letters, digits, dot, dash or underscore")
        if any(entry.name == name for entry in models.entries()):
            return _("There is a model of this name already")
        return ""

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
        usable = "" if state == DONE else _("There is no new model yet")
        setEnabled(
            ui.useModelButton, usable, _("Put the new model on the list, and take it in the Segment panel")
        )
        setEnabled(ui.exportModelButton, usable, _("One .zip; it holds no patient data"))
        setEnabled(ui.removeRunButton, busy, _("Delete its files"))
