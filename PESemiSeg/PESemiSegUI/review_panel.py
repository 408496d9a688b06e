"""Owns the Review panel: the findings one by one over the confidence map, the user's verdicts, exports."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from . import cohort_lists, export, findings, reviewed, scene, segment_texts, views
from .background import Task
from .base import Panel, setEnabled
from .findings import ACCEPTED, REJECTED, UNDECIDED, Row
from .findings_table import FindingsTable


class ReviewPanel(Panel):
    """Works on the result that the selector names. Calls `onReviewed(folder)` with a scan and its mask."""

    def __init__(self, path: str, page, onReviewed: Callable[[Path], None]):
        super().__init__(path, page)
        self._onKept = onReviewed
        self._uncertain = -1  # which of the least certain slices was shown last
        self._shortcuts: list[qt.QShortcut] = []
        ui = self.ui
        ui.resultSelector.addAttribute("vtkMRMLSegmentationNode", scene.RESULT, "1")
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onResult)
        self._table = FindingsTable(ui.findingsTable, self._onRow)
        ui.previousButton.connect("clicked()", self.previous)
        ui.nextButton.connect("clicked()", self.next)
        ui.uncertainButton.connect("clicked()", self.showLeastCertain)
        ui.acceptButton.connect("clicked()", self.accept)
        ui.rejectButton.connect("clicked()", self.reject)
        ui.undecideButton.connect("clicked()", self.undecide)
        for box in (ui.overlayCheck, ui.legendCheck, ui.nearMarksCheck):
            box.connect("toggled(bool)", self._onOverlay)
        for slider in (ui.opacitySlider, ui.overlayThresholdSlider):
            slider.connect("valueChanged(double)", self._onOverlay)
        ui.editorButton.connect("clicked()", self._onEditor)
        ui.statisticsButton.connect("clicked()", self._onStatistics)
        ui.csvButton.connect("clicked()", self._onCsv)
        ui.reportButton.connect("clicked()", self._onReport)
        ui.dicomButton.connect("clicked()", self._onDicom)
        ui.maskButton.connect("clicked()", self._onMask)
        ui.rejectedButton.connect("clicked()", self.keepForTraining)

    # what the shell calls

    def refresh(self) -> None:
        """Show the result of the scene."""
        self._onResult(self.ui.resultSelector.currentNode())

    def enter(self) -> None:
        """Keys work while the module is in front, wherever the focus is."""
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        keys = (
            ("Alt+Down", self.next),
            ("Alt+Up", self.previous),
            ("Alt+U", self.showLeastCertain),
            ("Alt+A", self.accept),
            ("Alt+R", self.reject),
        )
        for key, act in keys:
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", act)
            self._shortcuts.append(shortcut)

    def exit(self) -> None:
        """Keys belong to the next module."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def cleanup(self) -> None:
        """The module goes."""
        self.exit()
        super().cleanup()

    def showResult(self, segmentation) -> None:
        """Take up a result that has just come."""
        if self.ui.resultSelector.currentNode() is segmentation:
            self._onResult(segmentation)
        else:
            self.ui.resultSelector.setCurrentNode(segmentation)
        self.select(0)

    # the table

    @property
    def segmentation(self):
        """The result under review, or None."""
        return self.ui.resultSelector.currentNode()

    def _onResult(self, _node: object) -> None:
        self._uncertain = -1
        self._fill()
        self._overlay()
        self._updateButtons()

    def _fill(self) -> None:
        rows = scene.rowsOf(self.segmentation)
        self._table.fill(rows)
        self.ui.summaryLabel.text = self._summary(rows)

    def _summary(self, rows: list[Row]) -> str:
        if self.segmentation is None:
            return _("Segment a volume first, or open a scene with a result.")
        if not rows:
            return segment_texts.noFinding()
        kept = [row for row in rows if row.verdict != REJECTED]
        text = _("Findings: {n}, {volume} mm³ in all").format(
            n=len(kept), volume=f"{sum(row.volume_mm3 for row in kept):.0f}"
        )
        if len(kept) < len(rows):
            text += ", " + _("{n} rejected").format(n=len(rows) - len(kept))
        return text

    def select(self, index: int) -> None:
        """Go to a row of the table as it is sorted now."""
        self._table.select(index)

    def next(self) -> None:
        """The row below, from the last one to the first."""
        self._table.step(1)

    def previous(self) -> None:
        """The row above."""
        self._table.step(-1)

    def chosen(self) -> Row | None:
        """The finding that is selected."""
        segment = self._table.segment()
        return next((row for row in scene.rowsOf(self.segmentation) if row.segment == segment), None)

    def _onRow(self) -> None:
        self._updateButtons()
        row = self.chosen()
        if row is not None:
            views.lookAt(row.position, scene.volumeOf(self.segmentation))

    def showLeastCertain(self) -> None:
        """The slice on which the marks are trusted least; again: the next one."""
        places = scene.leastCertain(self.segmentation) if self.segmentation is not None else []
        if not places:
            return
        self._uncertain = (self._uncertain + 1) % len(places)
        place = places[self._uncertain]
        views.lookAt(tuple(place["ras"]), scene.volumeOf(self.segmentation))
        self.ui.reviewStatus.text = _(
            "Slice {slice}: mean confidence {value} on its marks ({n} of {of})"
        ).format(
            slice=place["slice"], value=f"{place['confidence']:.2f}", n=self._uncertain + 1, of=len(places)
        )

    # verdicts

    def accept(self) -> None:
        """The selected finding is an embolus."""
        self._decide(ACCEPTED)

    def reject(self) -> None:
        """The selected finding is none."""
        self._decide(REJECTED)

    def undecide(self) -> None:
        """Take the verdict back."""
        self._decide(UNDECIDED)

    def _decide(self, verdict: str) -> None:
        row = self.chosen()
        if row is None:
            return
        findings.setVerdict(self.segmentation.GetNodeReference(scene.FINDINGS), row.segment, verdict)
        rows = scene.rowsOf(self.segmentation)
        decided = next(r for r in rows if r.segment == row.segment)
        scene.showVerdict(self.segmentation, decided)
        self._table.showVerdict(decided)
        self.ui.summaryLabel.text = self._summary(rows)
        self._updateButtons()

    # overlay

    def _onOverlay(self, _value: object) -> None:
        self._overlay()

    def _overlay(self) -> None:
        node, ui = self.segmentation, self.ui  # the widgets: the parameter node hears of a change after this
        volume = scene.volumeOf(node) if node is not None else None
        if volume is None:
            return
        shown = scene.NEAR if ui.nearMarksCheck.checked else scene.CONFIDENCE
        hidden = scene.CONFIDENCE if ui.nearMarksCheck.checked else scene.NEAR
        confidence = node.GetNodeReference(shown) if ui.overlayCheck.checked else None
        for role in (shown, hidden):
            other = node.GetNodeReference(role)
            if other is not None and other is not confidence:
                views.showLegend(other, False)
        views.showOverlay(
            volume,
            confidence,
            opacity=ui.opacitySlider.value,
            threshold=ui.overlayThresholdSlider.value,
            legend=ui.legendCheck.checked,
        )

    # editing and exports

    def _updateButtons(self) -> None:
        ui, node = self.ui, self.segmentation
        count = self._table.count
        none = _("There is no result yet") if node is None else _("This result has no finding")
        why = "" if count else none
        setEnabled(ui.previousButton, why, _("Go to the finding above (Alt+Up)"))
        setEnabled(ui.nextButton, why, _("Go to the finding below (Alt+Down)"))
        setEnabled(ui.uncertainButton, why, _("Go to the slice whose marks are trusted least (Alt+U)"))
        chosen = self.chosen() if count else None
        why = why or ("" if chosen is not None else _("Choose a finding in the table first"))
        setEnabled(ui.acceptButton, why, _("This is an embolus (Alt+A)"))
        setEnabled(
            ui.rejectButton,
            why,
            _("This is none; it is hidden, and can go into the next fine-tuning (Alt+R)"),
        )
        undo = why or ("" if chosen.verdict else _("There is no verdict on this finding"))
        setEnabled(ui.undecideButton, undo, _("Take the verdict back"))
        none = "" if node is not None else _("There is no result yet")
        setEnabled(ui.editorButton, none, _("Correct the marks by hand; a new run keeps what you change"))
        setEnabled(ui.statisticsButton, none, _("Measure the segments"))
        setEnabled(ui.csvButton, none, _("The findings with your verdicts, as a table"))
        setEnabled(ui.maskButton, none, _("The marks without rejected findings, on the CT's grid"))
        setEnabled(ui.rejectedButton, none, _("This scan as reviewed, into the cohort of the Fine-tune page"))
        setEnabled(ui.reportButton, none or export.whyNoReport(node), _("The HTML report of this run"))
        setEnabled(ui.dicomButton, none or export.whyNoDicom(node), _("Into Slicer's DICOM database"))

    def _onEditor(self) -> None:
        export.openInModule("SegmentEditor", self.segmentation)

    def _onStatistics(self) -> None:
        export.openInModule("SegmentStatistics", self.segmentation)

    def _onCsv(self) -> None:
        path = export.askForFile(_("Save the findings"), "findings.csv", "CSV (*.csv)")
        if path:
            self._tell(export.saveFindings, path)

    def _onReport(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(export.reportOf(self.segmentation))))

    def _onDicom(self) -> None:
        self._tell(export.toDicomDatabase)

    def _onMask(self) -> None:
        path = export.askForFile(_("Save the reviewed mask"), "reviewed.nrrd", "NRRD (*.nrrd)")
        if path:
            pattern = _("Saved {name}; add it to a cohort as this scan's mask")
            self._write(path, None, lambda: self._say(pattern.format(name=path.name)))

    def keepForTraining(self) -> None:
        """Scan and mask, without rejected findings, as a labelled patient of the next fine-tuning."""
        folder = cohort_lists.newFolder()
        place = folder / folder.name  # one folder a patient
        self._write(place / reviewed.MASK, place / reviewed.SCAN, lambda: self._onWritten(folder))

    def _onWritten(self, folder: Path) -> None:
        open_ = sum(1 for row in scene.rowsOf(self.segmentation) if not row.verdict)
        text = _("The scan goes to the cohort of the Fine-tune page, without rejected findings.")
        if open_:
            text += " " + _("Findings without a verdict, {n}, count as emboli.").format(n=open_)
        self._say(text)
        self._onKept(folder)

    def _write(self, mask: Path, scan: "Path | None", done: Callable[[], None]) -> None:
        """Large files, so on a thread."""

        def failed(error: Exception) -> None:
            self._say(_("It did not work: {why}").format(why=error))

        try:
            self._task = Task(reviewed.writer(self.segmentation, mask, scan), lambda _path: done(), failed)
            self._say(_("Writing..."))
        except RuntimeError as error:
            failed(error)

    def _say(self, text: str) -> None:
        self.ui.reviewStatus.text = text

    def _tell(self, act, *arguments: Path) -> None:
        """Do an export and say how it went."""
        try:
            self.ui.reviewStatus.text = act(self.segmentation, *arguments)
        except (OSError, RuntimeError, ValueError) as error:
            self.ui.reviewStatus.text = _("It did not work: {why}").format(why=error)
