"""Owns what leaves the Review panel: CSV, report, DICOM SEG, other modules' panels."""

import tempfile
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.places import jobs_folder

from . import findings, scene


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
    findings.saveCsv(scene.rowsOf(segmentation), path)
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
    hierarchy, volume = slicer.mrmlScene.GetSubjectHierarchyNode(), scene.volumeOf(segmentation)
    if volume is None or not hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume)):
        return _("The CT has no DICOM study: load it through Slicer's DICOM module to export a DICOM SEG")
    return ""


def toDicomDatabase(segmentation) -> str:
    """Export the marks as DICOM SEG through Slicer's own plugin and index them. Raises RuntimeError."""
    plugin = slicer.modules.dicomPlugins["DICOMSegmentationPlugin"]()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    exportables = plugin.examineForExport(hierarchy.GetItemByDataNode(segmentation))
    if not exportables:
        raise RuntimeError(_("Slicer's DICOM plugin offers no export for this result"))
    with tempfile.TemporaryDirectory(prefix="pesemiseg-") as folder:
        for item in exportables:
            item.directory = folder
        problem = plugin.export(exportables)
        if problem:
            raise RuntimeError(str(problem))
        _index(folder)
    return _("The DICOM SEG is in Slicer's database")


def _index(folder: str) -> None:
    import ctk

    indexer = ctk.ctkDICOMIndexer()
    indexer.addDirectory(slicer.dicomDatabase, folder, True)
    indexer.waitForImportFinished()
