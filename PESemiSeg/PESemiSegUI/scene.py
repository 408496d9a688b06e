"""Owns arrays <-> MRML nodes: a volume out to a job, and a job's result back in, on the right voxels."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from PESemiSegLib.jobs.files import read_json
from PESemiSegLib.models.kinds import EMBOLI

from . import edits, findings, wording
from .edits import addOwn, keepEdits
from .findings import Row
from .segments import COLOUR, orientedImage, tag

REJECTED_COLOUR = (0.55, 0.55, 0.55)
RESULT, JOB, SLICES = "PESemiSeg.Result", "PESemiSeg.Job", "PESemiSeg.Slices"  # attributes of a segmentation
"""RESULT holds the kind of the model; scenes of before there were several say "1"."""
CONFIDENCE, NEAR, FINDINGS = "PESemiSeg.Confidence", "PESemiSeg.Near", "PESemiSeg.Findings"  # its references
CAM = "PESemiSeg.Cam"  # reference of an identified scan: what speaks for PE, and where
_COLOUR = "PESemiSeg.Colour"  # tag of a segment: its own colour, "r g b"


def ijkToRas(volume: "slicer.vtkMRMLVolumeNode") -> list[list[float]]:
    """The volume's own geometry, 4x4, without any parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix).tolist()


def writer(volume: "slicer.vtkMRMLScalarVolumeNode", path: Path) -> Callable[[], None]:
    """What writes the volume's voxels (k, j, i) to a .npy; made here, run on a thread, slice by slice."""
    array = slicer.util.arrayFromVolume(volume)

    def write() -> None:
        target = np.lib.format.open_memmap(path, "w+", array.dtype, array.shape)
        for k, plane in enumerate(array):
            target[k] = plane
        target.flush()

    return write


def findResult(
    volume: "slicer.vtkMRMLScalarVolumeNode", kind: str = EMBOLI.name
) -> "slicer.vtkMRMLSegmentationNode | None":
    """The segmentation that an earlier run of this kind of model made of this volume."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if kindOf(node) == kind and node.GetNodeReferenceID(role) == volume.GetID():
            return node
    return None


def kindOf(segmentation: "slicer.vtkMRMLSegmentationNode") -> str:
    """What kind of model made a result: "emboli", "arteries"...; empty where it is no result."""
    kind = segmentation.GetAttribute(RESULT) or ""
    return EMBOLI.name if kind == "1" else kind


def volumeOf(segmentation: "slicer.vtkMRMLSegmentationNode") -> "slicer.vtkMRMLScalarVolumeNode | None":
    """The CT that a result belongs to."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentation.GetNodeReference(role)


def rowsOf(segmentation: "slicer.vtkMRMLSegmentationNode | None") -> list[Row]:
    """The findings of a result, with verdicts."""
    return findings.read(segmentation.GetNodeReference(FINDINGS)) if segmentation is not None else []


def leastCertain(segmentation: "slicer.vtkMRMLSegmentationNode") -> list[dict]:
    """Slices with marks, the least certain first: `ras` in mm and `confidence`."""
    try:
        return json.loads(segmentation.GetAttribute(SLICES) or "[]")
    except ValueError:
        return []


def importResult(
    volume: "slicer.vtkMRMLScalarVolumeNode", folder: Path, job: str
) -> "slicer.vtkMRMLSegmentationNode":
    """`importSteps`, all at once: for scripts, and for results of a few findings."""
    *_steps, node = importSteps(volume, folder, job)
    return node


def importSteps(
    volume: "slicer.vtkMRMLScalarVolumeNode", folder: Path, job: str
) -> "Iterator[slicer.vtkMRMLSegmentationNode]":
    """Bring a finished segment job into the scene, in steps of some 10 ms; the full confidence map comes apart.

    An earlier result of the same kind and volume is updated: segments that the user drew or changed stay
    unless they were rejected, and verdicts go over to the new finding in the same place.

    Args:
        folder: of the job; its arrays lie on the volume's own grid, or on an axial one where that is tilted.
        job: its id, for the report.

    Raises OSError, ValueError or KeyError for files that make no sense.
    """
    about = read_json(folder / "findings.json")
    if about is None:
        raise ValueError("findings.json cannot be read")
    labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
    kind = str(about.get("model", {}).get("marks", EMBOLI.name))
    node = findResult(volume, kind) or _newResult(volume, kind)
    node.SetAttribute(JOB, job)
    node.SetAttribute(SLICES, json.dumps([_inRas(item) for item in about["slices"]]))
    before, kept = rowsOf(node), {}
    yield node
    for old, new in keepEdits(node, findings.rejected(before)):
        kept[old] = new
        yield node
    users = _usersRows(node, before, kept)
    for item in about["findings"]:
        if item["box_kji"]:
            _addSegment(node, labels, item, about["ijk_to_ras"])
            yield node
            node.CreateClosedSurfaceRepresentation()  # nothing to do once the first one has it
            yield node
    edits.remember(node)
    rows = [row for row in before if row.segment.startswith(edits.OWN)]
    rows = findings.withVerdicts(findings.rowsOf(about["findings"]), rows) + users
    findings.write(_table(node, volume), rows)
    for row in rows:
        if row.verdict:
            showVerdict(node, row)
    if (folder / "near.npy").exists():
        near = np.load(folder / "near.npy", allow_pickle=False)
        setConfidence(node, NEAR, near, about["near_ijk_to_ras"])
    elif node.GetNodeReference(NEAR) is not None:
        slicer.mrmlScene.RemoveNode(node.GetNodeReference(NEAR))
    yield node


def gridOf(folder: Path) -> list[list[float]]:
    """IJKToRAS of the arrays of a finished segment job. Raises KeyError where it is not told."""
    return (read_json(folder / "findings.json") or {})["ijk_to_ras"]


def setConfidence(
    segmentation: "slicer.vtkMRMLSegmentationNode", role: str, array: np.ndarray, matrix: list[list[float]]
) -> "slicer.vtkMRMLScalarVolumeNode":
    """Make or update a volume beside a result, such as its confidence; the array's memory is used as it is."""
    volume = volumeOf(segmentation)
    node = segmentation.GetNodeReference(role)
    if node is None:
        names = {
            CONFIDENCE: _("{result} confidence"),
            NEAR: _("{result} confidence at marks"),
            CAM: _("{ct} PE map"),
        }
        name = names[role].format(result=segmentation.GetName(), ct=volume.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        segmentation.SetNodeReferenceID(role, node.GetID())
        _placeBeside(node, volume)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1), deep=False))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(matrix)))
    node.SetAndObserveImageData(image)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetAttribute("PESemiSeg.Confidence", "1")
    return node


def showVerdict(segmentation: "slicer.vtkMRMLSegmentationNode", row: Row) -> None:
    """A rejected finding is grey and hidden; others have the colour of an embolus."""
    segment = segmentation.GetSegmentation().GetSegment(row.segment)
    if segment is None:
        return
    rejected = row.verdict == findings.REJECTED
    own = [float(part) for part in tag(segment, _COLOUR).split()] or COLOUR
    segment.SetColor(*(REJECTED_COLOUR if rejected else own))
    segmentation.GetDisplayNode().SetSegmentVisibility(row.segment, not rejected)


def _usersRows(node: "slicer.vtkMRMLSegmentationNode", before: list[Row], kept: dict[str, str]) -> list[Row]:
    """The rows, with verdicts, of what the user drew or changed; `kept`: new IDs of the last run's segments."""
    there = set(node.GetSegmentation().GetSegmentIDs())
    rows = [replace(row, segment=kept.get(row.segment, row.segment)) for row in before]
    return [row for row in rows if row.segment in there]


def _newResult(volume: "slicer.vtkMRMLScalarVolumeNode", kind: str) -> "slicer.vtkMRMLSegmentationNode":
    name = _("{name} PE") if kind == EMBOLI.name else _("{name} {what}")
    node = newSegmentation(volume, name.format(name=volume.GetName(), what=wording.kind(kind)))
    node.SetAttribute(RESULT, kind)
    return node


def newSegmentation(volume: "slicer.vtkMRMLScalarVolumeNode", name: str) -> "slicer.vtkMRMLSegmentationNode":
    """An empty segmentation on the volume's grid, under its transform, in its study."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    node.SetNodeReferenceID(role, volume.GetID())
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    _placeBeside(node, volume)
    return node


def _table(
    node: "slicer.vtkMRMLSegmentationNode", volume: "slicer.vtkMRMLScalarVolumeNode"
) -> "slicer.vtkMRMLTableNode":
    table = node.GetNodeReference(FINDINGS)
    if table is None:
        name = _("{result} findings").format(result=node.GetName())
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
        table.SetUseColumnTitleAsColumnHeader(True)
        node.SetNodeReferenceID(FINDINGS, table.GetID())
        _placeBeside(table, volume)
    return table


def _placeBeside(node: "slicer.vtkMRMLNode", volume: "slicer.vtkMRMLScalarVolumeNode") -> None:
    """Into the volume's study, which DICOM export goes by; Slicer makes the items itself."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    items = [hierarchy.GetItemByDataNode(item) for item in (volume, node)] if hierarchy is not None else [0]
    if all(items):
        hierarchy.SetItemParent(items[1], hierarchy.GetItemParent(items[0]))


def _addSegment(
    node: "slicer.vtkMRMLSegmentationNode", labels: np.ndarray, item: dict, matrix: list[list[float]]
) -> None:
    """One finding from its box alone: importing a whole volume of labels would take half a second."""
    image = _boxImage(labels, item["id"], item["box_kji"], matrix)
    name, look = _("PE {n}").format(n=item["id"]), item.get("segment")
    if look is None:
        addOwn(node, item["id"], name, image)
    else:  # a model with several classes
        colour = [part / 255 for part in look["colour_rgb"]]
        segment = addOwn(
            node, item["id"], look["name"], image, colour=colour, terminology=look["terminology"]
        )
        segment.SetTag(_COLOUR, " ".join(f"{part:.6f}" for part in colour))


def _boxImage(
    labels: np.ndarray, number: int, box_kji: list[list[int]], matrix: list[list[float]]
) -> "slicer.vtkOrientedImageData":
    """The voxels of one finding as an image whose extent is the finding's box in the whole grid."""
    (k0, k1), (j0, j1), (i0, i1) = box_kji
    return orientedImage([i0, j0, k0], labels[k0:k1, j0:j1, i0:i1] == number, matrix)


def _inRas(item: dict) -> dict:
    left, posterior, superior = item["lps_mm"]
    return {"slice": item["slice"], "confidence": item["confidence"], "ras": [-left, -posterior, superior]}
