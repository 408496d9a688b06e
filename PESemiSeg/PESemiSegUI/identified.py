"""Owns an identified scan in the scene: its marks as a segmentation, the Grad-CAM map as a volume beside it."""

import json
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.files import read_json

from . import scene
from .segments import addSegment, orientedImage

IDENTIFIED = "PESemiSeg.Identified"  # attribute of a segmentation: the probability, JSON
_SEGMENT = "PE"


def find(volume: "slicer.vtkMRMLScalarVolumeNode | None") -> "slicer.vtkMRMLSegmentationNode | None":
    """What an earlier run said of this volume."""
    if volume is None:
        return None
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetAttribute(IDENTIFIED) and scene.volumeOf(node) is volume:
            return node
    return None


def load(folder: Path) -> "tuple[dict, np.ndarray, np.ndarray]":
    """Summary, mask and map of a finished identify job; on a thread. Raises OSError or ValueError."""
    about = read_json(folder / "identification.json")
    if about is None:
        raise ValueError("identification.json cannot be read")
    mask = np.load(folder / "mask.npy", allow_pickle=False)
    return about, mask, np.load(folder / "cam.npy", allow_pickle=False)


def show(
    volume: "slicer.vtkMRMLScalarVolumeNode", job: str, about: dict, mask: np.ndarray, cam: np.ndarray
) -> "slicer.vtkMRMLSegmentationNode":
    """Make the nodes, or update those of an earlier run."""
    name = _("{name} PE without contrast").format(name=volume.GetName())
    node = find(volume) or scene.newSegmentation(volume, name)
    node.SetAttribute(IDENTIFIED, json.dumps({"pe_probability": about["pe_probability"]}))
    node.SetAttribute(scene.JOB, job)
    segmentation, matrix = node.GetSegmentation(), about["ijk_to_ras"]
    if segmentation.GetSegment(_SEGMENT) is not None:
        segmentation.RemoveSegment(_SEGMENT)
    if mask.any():
        places = [np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        box = tuple(slice(at[0], at[-1] + 1) for at in places)
        start = [int(part.start) for part in reversed(box)]
        addSegment(node, _SEGMENT, _("PE, by the model"), orientedImage(start, mask[box], matrix))
        node.CreateClosedSurfaceRepresentation()
    scene.setConfidence(node, scene.CAM, cam, matrix)
    return node
