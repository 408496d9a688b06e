"""Owns the findings of a model with several classes: one per class, named, however many pieces it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from PESemiSegLib.inference.findings import bounding_box, measure
from PESemiSegLib.inference.lungs import LungField
from PESemiSegLib.inference.result import BoxArray, Finding
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.segments import SegmentInfo


def find_organs(
    labels: np.ndarray,
    segments: Sequence[SegmentInfo],
    grid: Grid,
    probability: BoxArray,
    confidence: BoxArray,
    lungs: LungField | None = None,
) -> list[Finding]:
    """Measure each class of `labels` uint8 (z, y, x), in the order of the segments; its id is its label.

    Classes that mark nothing are left out. Volumes and positions are those of all voxels of the class.
    """
    found = []
    for value, segment in enumerate(segments, start=1):
        mine = labels == value
        box = bounding_box(mine)
        if box is not None:
            finding = measure(mine[box.slices], box, grid, probability, confidence, lungs)
            found.append(replace(finding, id=value, name=segment.name))
    return found
