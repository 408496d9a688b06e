"""Owns the sentences of the Review panel: what was found, and what each button does or why it cannot."""

import slicer
from slicer.i18n import tr as _

from PESemiSegLib.models.kinds import EMBOLI

from . import export, scene, segment_texts
from .base import setEnabled
from .findings import REJECTED, Row


def summary(segmentation: "slicer.vtkMRMLSegmentationNode | None", rows: list[Row]) -> str:
    """How much was found."""
    if segmentation is None:
        return _("Segment a volume first, or open a scene with a result.")
    if not rows:
        emboli = scene.kindOf(segmentation) == EMBOLI.name
        return segment_texts.noFinding() if emboli else _("Nothing was marked.")
    kept = [row for row in rows if row.verdict != REJECTED]
    text = _("Findings: {n}, {volume} mm³ in all").format(
        n=len(kept), volume=f"{sum(row.volume_mm3 for row in kept):.0f}"
    )
    if len(kept) < len(rows):
        text += ", " + _("{n} rejected").format(n=len(rows) - len(kept))
    return text


def written(undecided: int) -> str:
    """What becomes of a scan that is kept for the next fine-tuning."""
    text = _("The scan goes to the cohort of the Fine-tune page, without rejected findings.")
    if undecided:
        text += " " + _("Findings without a verdict, {n}, count as emboli.").format(n=undecided)
    return text


def saved(segmentation: "slicer.vtkMRMLSegmentationNode", name: str) -> str:
    """What a mask file is good for."""
    if scene.kindOf(segmentation) == EMBOLI.name:
        return _("Saved {name}; add it to a cohort as this scan's mask").format(name=name)
    return _("Saved {name}, all marks in one").format(name=name)


def whyNoVerdict(segmentation: "slicer.vtkMRMLSegmentationNode | None") -> str:
    """Why findings can be neither accepted nor rejected; empty where they can."""
    if segmentation is None:
        return _("There is no result yet")
    return "" if scene.kindOf(segmentation) == EMBOLI.name else _("Verdicts are given on emboli only")


def showButtons(
    ui, segmentation: "slicer.vtkMRMLSegmentationNode | None", count: int, chosen: "Row | None"
) -> None:
    """Enable what can be done with `count` findings, of which one may be chosen."""
    none = "" if segmentation is not None else _("There is no result yet")
    why = none or ("" if count else _("This result has no finding"))
    setEnabled(ui.previousButton, why, _("Go to the finding above (Alt+Up)"))
    setEnabled(ui.nextButton, why, _("Go to the finding below (Alt+Down)"))
    setEnabled(ui.uncertainButton, why, _("Go to the slice whose marks are trusted least (Alt+U)"))
    why = why or whyNoVerdict(segmentation)
    why = why or ("" if chosen is not None else _("Choose a finding in the table first"))
    setEnabled(ui.acceptButton, why, _("This is an embolus; on to the next undecided finding (Alt+A)"))
    setEnabled(
        ui.rejectButton,
        why,
        _("This is none; it is hidden, and can go into the next fine-tuning. On to the next one (Alt+R)"),
    )
    undo = why or ("" if chosen.verdict else _("There is no verdict on this finding"))
    setEnabled(ui.undecideButton, undo, _("Take the verdict back"))
    setEnabled(ui.editorButton, none, _("Correct the marks by hand; a new run keeps what you change"))
    setEnabled(ui.statisticsButton, none, _("Measure the segments"))
    setEnabled(ui.csvButton, none, _("The findings with your verdicts, as a table"))
    setEnabled(ui.maskButton, none, _("The marks without rejected findings, on the CT's grid"))
    keep = whyNoVerdict(segmentation) and (none or _("Only scans with marks of emboli can be kept so"))
    setEnabled(ui.rejectedButton, keep, _("This scan as reviewed, into the cohort of the Fine-tune page"))
    report = none or export.whyNoReport(segmentation)
    setEnabled(ui.reportButton, report, _("The HTML report of this run"))
    setEnabled(ui.dicomButton, none or export.whyNoDicom(segmentation), _("Into Slicer's DICOM database"))
    gone = none or ("" if scene.volumeOf(segmentation) else _("The CT of this result is not in the scene"))
    setEnabled(ui.windowButton, gone, _("Show the CT as emboli are looked for: window 600, level 200"))
