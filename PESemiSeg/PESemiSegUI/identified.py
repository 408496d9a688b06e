"""Owns an identified scan in the scene: its marks as a segmentation, the Grad-CAM map as a volume beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from PESemiSegLib.jobs.files import read_json

from . import scene
from .segments import orientedImage

IDENTIFIED = "PESemiSeg.Identified"  # attribute of a segmentation: what `told` gives, JSON


def find(volume: "slicer.vtkMRMLScalarVolumeNode | None") -> "slicer.vtkMRMLSegmentationNode | None":
    """What an earlier run said of this volume."""
    if volume is None:
        return None
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetAttribute(IDENTIFIED) and scene.volumeOf(node) is volume:
            return node
    return None


@dataclass(frozen=True)
class Found:
    """What an identify job left. about: its summary. marks: uint8 (k, j, i), cut to them, from `start_ijk` on."""

    about: dict
    marks: np.ndarray
    start_ijk: list[int]
    cam: np.ndarray


def load(folder: Path) -> Found:
    """The result of a finished identify job; on a thread. Raises OSError or ValueError."""
    about = read_json(folder / "identification.json")
    if about is None:
        raise ValueError("identification.json cannot be read")
    mask = np.load(folder / "mask.npy", mmap_mode="r", allow_pickle=False)
    places = [np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0) for at in places)
    start = [part.start or 0 for part in reversed(box)]
    return Found(about, np.array(mask[box]), start, np.load(folder / "cam.npy", allow_pickle=False))


def showSteps(
    volume: "slicer.vtkMRMLScalarVolumeNode", job: str, found: Found
) -> "Iterator[slicer.vtkMRMLSegmentationNode]":
    """Make the nodes, or update those of an earlier run, in steps; marks that the user changed stay."""
    about, matrix = found.about, found.about["ijk_to_ras"]
    said = {"pe_probability": about["pe_probability"], "windows": len(about["window_probabilities"])}
    said["marks"] = len(about["findings"])
    name = _("{name} PE without contrast").format(name=volume.GetName())
    node = find(volume) or scene.newSegmentation(volume, name)
    node.SetAttribute(IDENTIFIED, json.dumps(said))
    node.SetAttribute(scene.JOB, job)
    yield node
    for _old in scene.keepEdits(node):
        yield node
    if found.marks.size:
        image = orientedImage(found.start_ijk, found.marks, matrix)
        scene.addOwn(node, 1, _("PE, by the model"), image)
        yield node
        node.CreateClosedSurfaceRepresentation()
        yield node
    scene.setConfidence(node, scene.CAM, found.cam, matrix)
    yield node


def told(result: "slicer.vtkMRMLSegmentationNode") -> dict:
    """What the run said: `pe_probability`, and how many `windows` and `marks`."""
    return json.loads(result.GetAttribute(IDENTIFIED))
