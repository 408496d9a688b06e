"""Owns the Review panel: the findings one by one over the confidence map, the user's verdicts, exports."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from . import cohort_lists, export, findings, measured, review_texts, reviewed, scene, views
from .background import Task
from .base import Panel
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
        ui.resultSelector.addAttribute("vtkMRMLSegmentationNode", scene.RESULT)
        ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onResult)
        self._table = FindingsTable(ui.findingsTable, self._onRow)
        ui.previousButton.connect("clicked()", self.previous)
        ui.nextButton.connect("clicked()", self.next)
        ui.uncertainButton.connect("clicked()", self.showLeastCertain)
        ui.windowButton.connect("clicked()", self._onWindow)
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
        """Keys work while the module is in front, wherever the focus is; verdicts where they can be seen."""
        self._update()
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        keys = (
            ("Alt+Down", self.next),
            ("Alt+Up", self.previous),
            ("Alt+U", self.showLeastCertain),
            ("Alt+A", self._onAcceptKey),
            ("Alt+R", self._onRejectKey),
        )
        for key, act in keys:
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.setAutoRepeat(act not in (self._onAcceptKey, self._onRejectKey))
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
        rows = measured.update(self.segmentation)
        self._table.fill(rows)
        self.ui.summaryLabel.text = review_texts.summary(self.segmentation, rows)

    def _update(self) -> None:
        """Marks may have been corrected in another module: show them, on the same finding."""
        chosen = self._table.segment()
        self._fill()
        if chosen is not None:
            self._table.selectSegment(chosen)
        self._updateButtons()

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
        if row is None or review_texts.whyNoVerdict(self.segmentation):
            return
        after = self._table.after(row.segment)  # the verdict may move the row
        findings.setVerdict(self.segmentation.GetNodeReference(scene.FINDINGS), row.segment, verdict)
        rows = {row.segment: row for row in scene.rowsOf(self.segmentation)}
        scene.showVerdict(self.segmentation, rows[row.segment])
        self._table.showVerdict(rows[row.segment])
        self.ui.summaryLabel.text = review_texts.summary(self.segmentation, list(rows.values()))
        following = next((at for at in after if at in rows and not rows[at].verdict), None)
        if verdict and following is not None:
            self._table.go(following)
        elif verdict:
            self._say(_("All findings have a verdict."))
        self._updateButtons()

    def _onAcceptKey(self) -> None:
        if self._shown():
            self.accept()

    def _onRejectKey(self) -> None:
        if self._shown():
            self.reject()

    def _shown(self) -> bool:
        """Whether this page is the one in front."""
        return self.widget.isVisibleTo(slicer.util.mainWindow())

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
        review_texts.showButtons(self.ui, self.segmentation, self._table.count, self.chosen())

    def _onWindow(self) -> None:
        views.showEmboliWindow(scene.volumeOf(self.segmentation))

    def _onEditor(self) -> None:
        export.openInModule("SegmentEditor", self.segmentation)

    def _onStatistics(self) -> None:
        export.openInModule("SegmentStatistics", self.segmentation)

    def _onCsv(self) -> None:
        path = export.askForFile(_("Save the findings"), "findings.csv", "CSV (*.csv)")
        if path:
            self._update()
            self._tell(export.saveFindings, path)

    def _onReport(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(export.reportOf(self.segmentation))))

    def _onDicom(self) -> None:
        self._tell(export.toDicomDatabase)

    def _onMask(self) -> None:
        path = export.askForFile(_("Save the reviewed mask"), "reviewed.nrrd", "NRRD (*.nrrd)")
        if path:
            done = review_texts.saved(self.segmentation, path.name)
            self._write(path, None, lambda: self._say(done))

    def keepForTraining(self) -> None:
        """Scan and mask, without rejected findings, as a labelled patient of the next fine-tuning."""
        self._update()
        undecided = sum(1 for row in scene.rowsOf(self.segmentation) if not row.verdict)
        folder = cohort_lists.newFolder()
        place = folder / folder.name  # one folder a patient

        def done() -> None:  # another result may be under review by then
            self._say(review_texts.written(undecided))
            self._onKept(folder)

        self._write(place / reviewed.MASK, place / reviewed.SCAN, done)

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
