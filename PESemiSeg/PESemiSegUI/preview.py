"""Owns what shows up while a volume is being segmented: the marks of the slices that are finished."""

from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import segments

SEGMENT, EVENT = "running", "slab"
_MOST_VOXELS = 2_000_000  # of one segment's box: more would hold the user interface up


class Preview:
    """A segmentation of its own beside the result, which a run may be about to update; gone when the run ends.

    It is not saved with a scene. `volume`: the one that is being segmented.
    """

    def __init__(self, volume):
        self._volume, self._node = volume, None
        self._number = 1  # of the segment that grows now
        self._slabs: list[tuple[list[int], np.ndarray]] = []  # in it: where each begins (i, j, k), and it

    def add(self, events: "tuple[dict, ...]", folder: Path) -> None:
        """Show the slabs that a segment job tells of; takes milliseconds."""
        told = [event for event in events if event["kind"] == EVENT]
        before = len(self._slabs)
        for event in told:
            try:
                slab = np.load(folder / event["file"], allow_pickle=False)
            except (OSError, ValueError):
                continue  # the job has ended and taken it away: the result comes
            self._slabs.append((event["start_ijk"], slab))
        if len(self._slabs) > before and self._volume.GetScene() is not None:
            self._show(told[-1]["ijk_to_ras"])

    def remove(self) -> None:
        """The result is there, or there will be none."""
        if self._node is not None and self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = None

    def _show(self, matrix: "list[list[float]]") -> None:
        start, whole = joined(self._slabs)
        image = segments.orientedImage(start, whole, matrix)
        if self._node is None or self._node.GetScene() is None:
            self._node = self._make()
        identity = f"{SEGMENT}_{self._number}"
        segment = self._node.GetSegmentation().GetSegment(identity)
        if segment is None:
            self._addSegment(identity, image)
        else:
            segment.AddRepresentation(segments.labelmap(), image)  # in the place of the last one
        if whole.size > _MOST_VOXELS:
            self._number, self._slabs = self._number + 1, []

    def _addSegment(self, identity: str, image: "slicer.vtkOrientedImageData") -> None:
        segment = slicer.vtkSegment()
        segment.SetName(_("being marked"))
        segment.SetColor(*segments.COLOUR)
        segment.AddRepresentation(segments.labelmap(), image)
        self._node.GetSegmentation().SetSourceRepresentationName(segments.labelmap())
        self._node.GetSegmentation().AddSegment(segment, identity)

    def _make(self) -> "slicer.vtkMRMLSegmentationNode":
        name = _("{name} PE, at work").format(name=self._volume.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.SetSaveWithScene(False)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility3D(False)  # a surface is worth its time once it is whole
        node.SetAndObserveTransformNodeID(self._volume.GetTransformNodeID())
        return node


def joined(slabs: "list[tuple[list[int], np.ndarray]]") -> "tuple[list[int], np.ndarray]":
    """Slabs in one array, cut to the marks: where it begins (i, j, k), and uint8 (k, j, i)."""
    first = np.min([start[::-1] for start, _slab in slabs], axis=0)
    last = np.max([np.add(start[::-1], slab.shape) for start, slab in slabs], axis=0)
    whole = np.zeros(last - first, np.uint8)
    for start, slab in slabs:
        k, j, i = np.asarray(start[::-1]) - first
        whole[k : k + slab.shape[0], j : j + slab.shape[1], i : i + slab.shape[2]] |= slab
    return first[::-1].tolist(), whole
