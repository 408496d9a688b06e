"""Label maps in image files of their own: on the scan's grid, of one label among several, or bare arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.cohorts.marked import Marked, MaskReader
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.reader import read, stored_grid
from PESemiSegLib.volumes.volume import Volume

_TOLERANCE_MM = 0.05


def on_same_grid(mask: Volume, scan: Volume) -> bool:
    """Whether two volumes have the same voxels in the same places, all of them to within 0.05 mm."""
    return mask.grid.same_as(scan.grid, _TOLERANCE_MM)


def stored_on_same_grid(first: Path, second: Path) -> bool:
    """The same of two image files, whose voxels are read only where the headers do not settle it."""
    grids = stored_grid(first), stored_grid(second)
    if grids[0] is not None and grids[1] is not None and grids[0].same_as(grids[1], _TOLERANCE_MM):
        return True
    return on_same_grid(read(first), read(second))


def read_on_grid(path: Path, scan: Volume) -> np.ndarray:
    """The values of an image file, int16 (z, y, x); raises InputError where it lies on another grid."""
    stored = read(path, labels=True)
    if not on_same_grid(stored, scan):
        raise _elsewhere(path)
    return stored.hu


def known_pe(case: Case) -> str:
    """ "yes" or "no" as the manifest says, or else as the case's mask shows; empty where neither is there."""
    if case.pe or case.mask is None:
        return case.pe
    return "yes" if (read(case.mask, labels=True).hu > 0).any() else "no"


def file_mask(
    path: Path, *, value: int | None = None, by_index: bool = False, dtype: Any = np.uint8
) -> MaskReader:
    """A reader of one label map.

    value: the label that counts; None keeps every value. by_index: where the header places the mask
    elsewhere, but the arrays have the same shape, voxels are matched by index, as the data set means it.
    """

    def mask_of(scan: Volume) -> Marked:
        stored = read(path, labels=True)
        if on_same_grid(stored, scan):
            labels, note = stored.hu, ""
        elif by_index and stored.source_grid.shape == scan.source_grid.shape:
            labels = scan.from_source(stored.to_source(stored.hu))
            note = "the mask's header places it elsewhere: matched to the scan voxel by voxel"
        else:
            raise _elsewhere(path)
        return Marked((labels if value is None else labels == value).astype(dtype), note)

    return mask_of


def resampled(labels: np.ndarray, affine: np.ndarray, scan: Volume) -> np.ndarray:
    """Labels (z, y, x) with an affine voxel -> LPS mm, read by nearest neighbour on the scan's grid.

    For segmentations that were cropped to what is marked, or drawn on a finer grid.
    """
    from PESemiSegLib.volumes.resample import resample

    matrix = np.linalg.inv(affine) @ scan.affine
    return resample(labels, matrix, scan.shape, linear=False, fill=0)


def _elsewhere(path: Path) -> InputError:
    return InputError(f"{path.name} does not lie on the scan's grid; export it on that grid")
