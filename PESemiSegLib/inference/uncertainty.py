"""Owns how sure the discriminator is of each slice, and which voxel belongs to which finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.inference.near import within

HALO_MM = 3.0  # this far around a mark the confidence can be read as trust in the mark

if TYPE_CHECKING:
    import numpy.typing as npt

    from PESemiSegLib.inference.result import Result


def marked_slices(result: Result) -> list[dict[str, Any]]:
    """The slices of the working grid with marks, the least certain first.

    Each with `slice` (from 1 at the feet), `confidence` (the discriminator's mean over the slice's marked
    voxels, 0 to 1) and `lps_mm` (their centre).
    """
    rows = []
    for k in np.flatnonzero(result.mask.any(axis=(1, 2))):
        marked = result.mask[k] > 0
        j, i = np.nonzero(marked)
        centre = result.volume.grid.to_lps((float(i.mean()), float(j.mean()), float(k)))
        sure = float(result.confidence.slice(int(k))[marked].mean())
        position = [round(float(value), 3) for value in centre]
        rows.append({"slice": int(k) + 1, "confidence": round(sure, 4), "lps_mm": position})
    return sorted(rows, key=lambda row: row["confidence"])


def finding_labels(result: Result) -> npt.NDArray[Any]:
    """The id of the finding at each voxel of the working grid (z, y, x), 0 elsewhere; uint8 if that fits."""
    ids = [finding.id for finding in result.findings]
    labels = np.zeros(result.mask.shape, np.uint8 if max(ids, default=0) < 256 else np.uint16)
    for finding in result.findings:
        labels[finding.box.slices][result.finding_mask(finding)] = finding.id
    return labels


def near_marks(result: Result) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]] | None:
    """The confidence on the marks and HALO_MM around them, 0 elsewhere; None without marks.

    Returns:
        The smallest box (z, y, x) of the working grid that holds all of it, and the box's affine (voxel
        i, j, k -> LPS mm).
    """
    from PESemiSegLib.inference.result import Box

    grid, marked = result.volume.grid, result.mask > 0
    step = np.asarray(grid.spacing_mm)[::-1]
    margin = np.ceil(HALO_MM / step).astype(int)
    boxes = []
    for finding in result.findings:
        start = np.maximum(np.asarray(finding.box.start) - margin, 0)
        boxes.append((start, np.minimum(np.asarray(finding.box.stop) + margin, marked.shape)))
    if not boxes:
        return None
    low, high = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
    near = np.zeros(tuple(high - low), np.float32)
    for start, stop in boxes:
        box = Box(tuple(map(int, start)), tuple(map(int, stop)))  # type: ignore[arg-type]
        close = within(marked[box.slices], HALO_MM, grid.spacing_mm)
        place = Box(tuple(map(int, start - low)), tuple(map(int, stop - low)))  # type: ignore[arg-type]
        near[place.slices][close] = result.confidence.crop(box)[close]
    affine = np.array(grid.affine, dtype=np.float64)
    affine[:3, 3] = grid.to_lps(low[::-1])
    return near, affine
