"""Owns the Segment panel: choose a volume and a model, see what it will cost, run, stop, read the log."""

import logging
from dataclasses import replace

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError

from . import cost, devices, loading, machine, models, scan_run, segment_run, segment_texts
from .base import AMBER, Panel, setEnabled
from .scan_run import News, Request
from .segment_run import SegmentRun


class SegmentPanel(Panel):
    """Calls `onFinished(segmentation)` when a result has come into the scene."""

    def __init__(self, path: str, page, onFinished):
        super().__init__(path, page)
        self._onFinished = onFinished
        self._run = SegmentRun(self.show)
        self._loader = loading.Loader(self._onLoaded, self._say)
        self._entries: list[models.Entry] = []
        self._waiting: Request | None = None  # for "Run anyway"
        self._free_bytes: float | None = None
        self._cores: int | None = None
        ui = self.ui
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onInput)
        ui.loadFolderButton.connect("clicked()", self._loader.askForFolder)
        ui.loadFileButton.connect("clicked()", self._loader.askForFile)
        ui.modelCombo.connect("currentIndexChanged(int)", self._onModel)
        ui.cardButton.connect("toggled(bool)", self._onCard)
        ui.deviceCombo.connect("currentIndexChanged(int)", self._onDevice)
        ui.thresholdCheck.connect("toggled(bool)", self._onOwnPoint)
        ui.coreCheck.connect("toggled(bool)", self._onOwnPoint)
        ui.segmentButton.connect("clicked()", self._onSegment)
        ui.runAnywayButton.connect("clicked()", self._onRunAnyway)
        ui.dismissButton.connect("clicked()", self._onDismiss)
        ui.copyReportButton.connect("clicked()", self._onCopyReport)
        ui.modelMark.setStyleSheet(AMBER)
        self.setDevices(machine.rememberedProbe())

    # what the shell calls

    def refresh(self) -> None:
        """Models may have come or gone, and the scene may be another."""
        self._listModels()
        self._onInput(self.ui.inputSelector.currentNode())
        self._onOwnPoint()

    def enter(self) -> None:
        """The list of models may have changed meanwhile."""
        self._listModels()
        self._updateButton()

    def sceneClosing(self) -> None:
        """The volume goes: so does its run."""
        self._waiting = None
        self.ui.checkFrame.visible = False
        if self._run.active:
            self._run.abandon()
            self._rest(_("Stopped, because the scene was closed."))
        else:
            self._rest("")

    def cleanup(self) -> None:
        """Segmenting belongs to this Slicer: it stops with it."""
        self._run.abandon()
        self._loader.abandon()
        super().cleanup()

    def setDevices(self, probe: dict) -> None:
        """Fill the device box from a look at this computer."""
        combo = self.ui.deviceCombo
        devices.fill(combo, probe, combo.currentData if combo.count else machine.value("device", "auto"))
        computer = probe.get("computer", {})
        self._cores = computer.get("cores")
        self._free_bytes = computer["memory_free_gib"] * 2**30 if computer.get("memory_free_gib") else None
        self._probe = probe
        self._onDevice(combo.currentIndex)

    @property
    def running(self) -> bool:
        """Whether a volume is being segmented."""
        return self._run.active

    # choosing

    def _listModels(self) -> None:
        combo = self.ui.modelCombo
        wanted = self.parameters.model if self.parameters is not None else "demo"
        self._entries = [entry for entry in models.entries() if not entry.identifies]
        combo.blockSignals(True)
        combo.clear()
        for entry in self._entries:
            combo.addItem(entry.name, entry.name)
        combo.setCurrentIndex(max(0, combo.findData(wanted)) if self._entries else -1)
        combo.blockSignals(False)
        self._showModel()

    def chooseModel(self, name: str) -> None:
        """Take a model that has just come into the list."""
        if self.parameters is not None:
            self.parameters.model = name
        self._listModels()

    def _entry(self) -> models.Entry | None:
        index = self.ui.modelCombo.currentIndex
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def _onModel(self, _index: int) -> None:
        entry = self._entry()
        if entry is not None and self.parameters is not None:
            self.parameters.model = entry.name
        self._showModel()

    def _showModel(self) -> None:
        entry, wanted = self._entry(), self.parameters.model if self.parameters is not None else ""
        self.ui.modelMark.text, mind = segment_texts.modelMark(entry, wanted)
        self.ui.modelMark.setStyleSheet(AMBER if mind else "")
        if entry is not None:
            self.ui.cardText.setMarkdown(models.card(entry))
        self._updateCost()
        self._updateButton()

    def _onCard(self, shown: bool) -> None:
        self.ui.cardText.visible = shown

    def _onInput(self, _node: object) -> None:
        note = segment_run.explainVolume(self.ui.inputSelector.currentNode())
        self.ui.inputNote.text = note
        self.ui.inputNote.visible = bool(note)
        self._updateCost()
        self._updateButton()

    def _onDevice(self, _index: int) -> None:
        device = self.ui.deviceCombo.currentData
        machine.setValue("device", "" if device == "auto" else str(device))
        devices.fillPrecision(self.ui.precisionCombo, self._probe, device)
        note = devices.whyNot(self._probe, device)
        self.ui.deviceNote.text = note
        self.ui.deviceNote.visible = bool(note)
        self._updateCost()
        self._updateButton()

    def _onOwnPoint(self, _own: bool = False) -> None:
        ui, entry = self.ui, self._entry()
        ui.thresholdSlider.enabled, ui.coreSlider.enabled = ui.thresholdCheck.checked, ui.coreCheck.checked
        if entry is not None and entry.info is not None:
            tips = segment_texts.ownPoint(entry.info, ui.thresholdCheck.checked)
            ui.thresholdCheck.toolTip, ui.coreCheck.toolTip = tips

    def _updateCost(self) -> None:
        volume, entry = self.ui.inputSelector.currentNode(), self._entry()
        if volume is None or volume.GetImageData() is None or entry is None:
            self.ui.costLabel.text = _("choose a volume first")
            return
        device, size = self.ui.deviceCombo.currentData, volume.GetImageData().GetDimensions()
        expected = cost.estimate(size, volume.GetSpacing(), entry.name, device, self._cores)
        self.ui.costLabel.text = expected.text(self._free_bytes)

    def _updateButton(self) -> None:
        """One button: Segment PE, or Cancel while a run is on its way."""
        button = self.ui.segmentButton
        if self._run.active:
            button.text = _("Cancel")
            setEnabled(button, "", _("Stop within two seconds"))
            return
        button.text = segment_texts.buttonText(self._entry())
        volume, entry, device = (
            self.ui.inputSelector.currentNode(),
            self._entry(),
            self.ui.deviceCombo.currentData,
        )
        unusable = "" if device == "auto" else devices.whyNot(self._probe, device)
        why = segment_texts.whyNot(volume, entry, devices.whyNothing(self._probe) or unusable)
        setEnabled(button, why, _("Mark pulmonary emboli; Slicer stays usable meanwhile"))

    # loading

    def load(self, path: str, series: str | None = None) -> None:
        """Load a scan with the library's reader."""
        self._loader.load(path, series)

    def _onLoaded(self, volume, warnings: "tuple[str, ...]") -> None:
        self.ui.inputSelector.setCurrentNode(volume)
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        self.ui.inputNote.text = " ".join(warnings)
        self.ui.inputNote.visible = bool(warnings)
        self._say("")

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text

    # running

    def _onSegment(self) -> None:
        if self._run.active:
            self.ui.segmentButton.enabled = False
            self._say(_("Stopping..."))
            self._run.cancel()
            return
        self.start(strict=True)

    def _onRunAnyway(self) -> None:
        request, self._waiting = self._waiting, None
        self.ui.checkFrame.visible = False
        if request is not None and request.volume.GetScene() is not None:
            self._begin(request)

    def _onDismiss(self) -> None:
        self._waiting = None
        self.ui.checkFrame.visible = False
        self._say(_("Not run."))

    def start(self, strict: bool = True) -> None:
        """Segment the volume that is chosen; `strict` asks where the input check finds fault."""
        settings: dict = {
            "precision": self.ui.precisionCombo.currentData,
            "whole": self.parameters.wholeSlices,
            "kind": self._entry().info.what.name,
        }
        if self.parameters.ownThreshold:
            settings["threshold"] = self.parameters.threshold
        if self.parameters.ownCore:
            least = settings.get("threshold", self._entry().info.threshold)
            settings["core_threshold"] = max(self.parameters.coreThreshold, least)
        if self.parameters.smallestMarkMm3 >= 0:
            settings["min_lesion_mm3"] = self.parameters.smallestMarkMm3
        volume = self.ui.inputSelector.currentNode()
        self._begin(Request(volume, self._entry().name, self.ui.deviceCombo.currentData, settings, strict))

    def _begin(self, request: Request) -> None:
        self.ui.checkFrame.visible = False
        self.ui.logText.clear()
        try:
            self._request = request
            self._run.start(request)
        except PESemiSegError as error:
            self._rest(str(error))

    def show(self, news: News) -> None:
        """Show one thing that the run has told."""
        if news.log and news.log != self.ui.logText.plainText:
            self.ui.logText.setPlainText(news.log)
        if news.phase == scan_run.PREPARING:
            self._busy(_("Handing the volume over"), 0, 0)
        elif news.phase == scan_run.RUNNING:
            self._busy(segment_texts.progress(news), news.done, news.total)
        elif news.phase == scan_run.CHECKED:
            self._ask(news)
        elif news.phase == scan_run.FINISHED:
            self._rest(segment_texts.finished(news))
            self._onFinished(news.segmentation)
        elif news.phase == scan_run.STOPPED:
            self._rest(_("Stopped. Nothing was changed."))
        else:
            logging.error("PESemiSeg: %s", news.message)
            self.ui.logFold.collapsed = False
            self._rest(_("It did not work: {why}").format(why=news.message))

    def _busy(self, text: str, done: int, total: int) -> None:
        self.ui.progressBar.visible = True
        self.ui.progressBar.setRange(0, total)
        self.ui.progressBar.value = done
        self._say(text)
        self._updateButton()

    def _rest(self, text: str) -> None:
        self.ui.progressBar.visible = False
        self._say(text)
        self._updateCost()
        self._updateButton()

    def _ask(self, news: News) -> None:
        """The input check found fault: say so plainly, and leave the choice to the user."""
        self._waiting = replace(self._request, strict=False)
        self.ui.checkText.text = "\n".join(f"• {sentence}" for sentence in news.sentences)
        self.ui.checkFrame.visible = True
        self._rest(_("Not segmented yet: the input check found something."))

    def report(self) -> str:
        """What "Copy report" copies."""
        entry = self._entry()
        return segment_texts.report(self.ui, "none" if entry is None else entry.name)

    def _onCopyReport(self) -> None:
        qt.QApplication.clipboard().setText(self.report())
        self._say(_("The report is in the clipboard; it holds no patient data."))
