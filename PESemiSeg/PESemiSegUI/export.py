"""Owns what leaves the Review panel: CSV, report, DICOM SEG, other modules' panels."""

import tempfile
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.places import jobs_folder

from . import edits, findings, measured, scene
from .segments import ALGORITHM_TYPE, SCALARS, labelmap, partOf


def askForFile(title: str, name: str, kind: str) -> "Path | None":
    """Ask where to save; None where the user gives up."""
    chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kind)
    text = chosen[0] if isinstance(chosen, (tuple, list)) else chosen
    return Path(str(text)) if text else None


def openInModule(name: str, segmentation) -> None:
    """Bring one of Slicer's own modules to the front, on this result."""
    slicer.util.selectModule(name)
    widget = slicer.util.getModuleWidget(name)
    if name == "SegmentEditor":
        widget.editor.setSegmentationNode(segmentation)
        widget.editor.setSourceVolumeNode(scene.volumeOf(segmentation))
    else:
        widget.segmentationSelector.setCurrentNode(segmentation)
        widget.scalarSelector.setCurrentNode(scene.volumeOf(segmentation))


def saveFindings(segmentation, path: Path) -> str:
    """The findings with verdicts as CSV. Raises OSError."""
    findings.saveCsv(measured.update(segmentation), path)
    return _("Saved {name}").format(name=path.name)


def reportOf(segmentation) -> Path:
    """The HTML report of the run; it may be gone."""
    return jobs_folder() / (segmentation.GetAttribute(scene.JOB) or "none") / "result" / "report.html"


def whyNoReport(segmentation) -> str:
    """Why there is no report to open; empty where there is one."""
    return "" if reportOf(segmentation).is_file() else _("The files of this run were removed; segment again")


def whyNoDicom(segmentation) -> str:
    """Why no DICOM SEG can be made; empty where it can."""
    if "DICOMSegmentationPlugin" not in getattr(slicer.modules, "dicomPlugins", {}):
        return _("This Slicer has no DICOM segmentation plugin")
    volume = scene.volumeOf(segmentation)
    if volume is None or not volume.GetAttribute("DICOM.instanceUIDs"):
        return _("The CT has no DICOM study: load it through Slicer's DICOM module to export a DICOM SEG")
    return ""


def toDicomDatabase(segmentation) -> str:
    """Export the marks as DICOM SEG through Slicer's own plugin and index them. Raises RuntimeError."""
    plugin = slicer.modules.dicomPlugins["DICOMSegmentationPlugin"]()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    marks = _toExport(segmentation)
    try:
        exportables = plugin.examineForExport(hierarchy.GetItemByDataNode(marks))
        if not exportables:
            raise RuntimeError(_("Slicer's DICOM plugin offers no export for this result"))
        with tempfile.TemporaryDirectory(prefix="pesemiseg-") as folder:
            for item in exportables:
                item.directory = folder
            problem = plugin.export(exportables)
            if problem:
                raise RuntimeError(str(problem))
            _index(folder)
    finally:
        slicer.mrmlScene.RemoveNode(marks)
    return _("The DICOM SEG is in Slicer's database, without rejected findings")


def _toExport(segmentation) -> "slicer.vtkMRMLSegmentationNode":
    """A copy that holds what may leave: the plugin takes all segments of a node, hidden ones too."""
    rejected = findings.rejected(scene.rowsOf(segmentation))
    node = scene.newSegmentation(scene.volumeOf(segmentation), segmentation.GetName())
    node.GetSegmentation().SetSourceRepresentationName(labelmap())
    for identity in segmentation.GetSegmentation().GetSegmentIDs():
        part = partOf(segmentation, identity)
        if identity in rejected or part is None or not part[0].any():
            continue
        segment = slicer.vtkSegment()
        segment.DeepCopy(segmentation.GetSegmentation().GetSegment(identity))
        segment.GetRepresentation(labelmap()).GetPointData().GetScalars().SetName(SCALARS)
        if edits.origin(segmentation, identity) == findings.EDITED:
            segment.SetTag(ALGORITHM_TYPE, "SEMIAUTOMATIC")
        node.GetSegmentation().AddSegment(segment, identity)
    if not node.GetSegmentation().GetNumberOfSegments():
        slicer.mrmlScene.RemoveNode(node)
        raise RuntimeError(_("There is no mark to export"))
    return node


def _index(folder: str) -> None:
    import ctk

    indexer = ctk.ctkDICOMIndexer()
    indexer.addDirectory(slicer.dicomDatabase, folder, True)
    indexer.waitForImportFinished()
