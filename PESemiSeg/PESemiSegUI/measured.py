"""Owns the findings as the marks are now: those that the user changed are measured anew, drawn ones join."""

from dataclasses import replace

import numpy as np
import slicer

from . import edits, findings, scene
from .findings import MODEL, NO_MARK, Row
from .segments import Part, partOf


def update(segmentation: "slicer.vtkMRMLSegmentationNode | None") -> list[Row]:
    """The findings of a result; its table follows the segments. Milliseconds where nothing was changed."""
    before = scene.rowsOf(segmentation)
    volume = scene.volumeOf(segmentation) if segmentation is not None else None
    table = segmentation.GetNodeReference(scene.FINDINGS) if segmentation is not None else None
    if volume is None or table is None or slicer.mrmlScene.IsBatchProcessing():
        return before  # a scene that is being opened has not all of its parts yet
    rows = _rows(segmentation, before, np.asarray(scene.ijkToRas(volume)), volume.GetImageData())
    if repr(rows) != repr(before):  # a NaN equals none
        findings.write(table, rows)
    return rows


def _rows(
    segmentation: "slicer.vtkMRMLSegmentationNode",
    before: list[Row],
    ijk_to_ras: np.ndarray,
    image: "slicer.vtkImageData",
) -> list[Row]:
    known = {row.segment: row for row in before}
    rows = [row for row in before if row.mark == NO_MARK]
    highest = max((row.number for row in before), default=0)
    users_last = sorted(
        segmentation.GetSegmentation().GetSegmentIDs(), key=lambda i: not i.startswith(edits.OWN)
    )
    for identity in users_last:
        row, mark = known.get(identity), edits.origin(segmentation, identity)
        if row is not None and row.mark == mark == MODEL:
            rows.append(row)
            continue
        part = partOf(segmentation, identity)
        if part is None or not part[0].any():
            continue  # all of it was erased
        if row is None or any(row.number == other.number for other in rows):
            highest += 1
            row = replace(row or _unknown(identity), number=highest)
        rows.append(measure(replace(row, mark=mark), part, ijk_to_ras, image.GetDimensions()))
    return rows


def measure(row: Row, part: Part, ijk_to_ras: np.ndarray, dimensions: "tuple[int, int, int]") -> Row:
    """A row with volume, place, slices and length of a mark; slices of the CT count from 1 at the feet."""
    from PESemiSegLib.inference.findings import longest_axis

    array, to_ras = part
    sums = [array.sum(axes, dtype=np.int64) for axes in ((0, 1), (0, 2), (1, 2))]
    count = int(sums[0].sum())
    centre = [float(line @ np.arange(line.size)) / count for line in sums]
    r, a, s = (to_ras @ [*centre, 1.0])[:3]
    spacing = np.linalg.norm(to_ras[:3, :3], axis=0)
    ends = _ends(array)
    axis = int(np.abs(ijk_to_ras[2, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)).argmax())
    at = (np.linalg.inv(ijk_to_ras) @ to_ras)[axis] @ np.column_stack([ends, np.ones(len(ends))]).T
    if ijk_to_ras[2, axis] < 0:
        at = dimensions[axis] - 1 - at
    return replace(
        row,
        volume_mm3=round(count * abs(float(np.linalg.det(to_ras[:3, :3]))), 3),
        slice_first=round(float(at.min())) + 1,
        slice_last=round(float(at.max())) + 1,
        **dict(zip(("r_mm", "a_mm", "s_mm"), (round(float(mm), 3) for mm in (r, a, s)), strict=True)),
        longest_axis_mm=round(longest_axis(ends, tuple(spacing)), 3),
    )


def _ends(array: np.ndarray) -> np.ndarray:
    """The first and last voxel (i, j, k) of every row of a mask: they hold all of its corners."""
    k, j = np.nonzero(array.any(axis=2))
    rows = array[k, j]
    first, last = rows.argmax(axis=1), array.shape[2] - 1 - rows[:, ::-1].argmax(axis=1)
    return np.unique(np.concatenate([np.stack([i, j, k], axis=1) for i in (first, last)]), axis=0)


def _unknown(identity: str) -> Row:
    nan = float("nan")
    return Row(0, identity, 0.0, "", nan, nan, 0, 0, 0.0, 0.0, 0.0, 0.0)
