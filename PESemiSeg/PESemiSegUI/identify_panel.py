"""Owns "Identify PE on non-contrast CT": choose a scan and a model, run, read the probability, see the map."""

import qt
from slicer.i18n import tr as _

from PESemiSegLib.errors import PESemiSegError

from . import devices, export, identified, machine, models, scan_run, scene, segment_texts, views
from .base import AMBER, Panel, setEnabled
from .identify_run import IdentifyRun
from .scan_run import News, Request

_OPACITY = 0.5


class IdentifyPanel(Panel):
    """At most one run at a time; it stops with its scene."""

    def __init__(self, path: str, page):
        super().__init__(path, page)
        self._run = IdentifyRun(self.show)
        self._entries: list[models.Entry] = []
        self._probe = machine.rememberedProbe()
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
        self._run.abandon()
        self._rest("")

    def cleanup(self) -> None:
        """It belongs to this Slicer: it stops with it."""
        self._run.abandon()
        super().cleanup()

    def setDevices(self, probe: dict) -> None:
        """What a look at this computer found."""
        self._probe = probe
        self._update()

    @property
    def running(self) -> bool:
        """Whether a scan is being read."""
        return self._run.active

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
        why = segment_texts.whyNot(volume, self._entry(), devices.whyNothing(self._probe))
        setEnabled(button, why, _("Tell the probability of embolism of the whole scan"))

    # running

    def _onIdentify(self) -> None:
        if self.running:
            self.ui.identifyButton.enabled = False
            self._say(_("Stopping..."))
            self._run.cancel()
            return
        self.start()

    def start(self, **settings) -> None:
        """Identify the scan that is chosen; `settings` are those of an identify job."""
        volume, entry = self.ui.plainSelector.currentNode(), self._entry()
        try:
            self._run.start(Request(volume, entry.name, settings=settings, strict=False))
        except PESemiSegError as error:
            self._rest(str(error))

    def show(self, news: News) -> None:
        """Show one thing that the run has told."""
        if news.phase == scan_run.PREPARING:
            self._busy(_("Handing the volume over"), 0, 0)
        elif news.phase == scan_run.RUNNING:
            self._busy(segment_texts.progress(news), news.done, news.total)
        elif news.phase == scan_run.FINISHED:
            self._rest(self.sentence(news))
            self.ui.mapCheck.checked = True
            self._showMap(news.segmentation, True)
        elif news.phase == scan_run.STOPPED:
            self._rest(_("Stopped. Nothing was changed."))
        else:
            self._rest(_("It did not work: {why}").format(why=news.message))

    def sentence(self, news: News) -> str:
        """The probability, with what it must not be taken for and what the input check had to say."""
        said = identified.told(news.segmentation)
        text = _("Probability of embolism: {p} ({n} windows, {marks} marks). Not backed by evidence.").format(
            p=f"{said['pe_probability']:.2f}", n=said["windows"], marks=said["marks"]
        )
        if news.sentences:
            text += " " + _("Mind the input check: {what}").format(what=" ".join(news.sentences))
        return text

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
