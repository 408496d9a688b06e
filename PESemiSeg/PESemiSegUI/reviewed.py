"""Owns the mask as reviewed: all marks but rejected findings, on the CT's grid, for the next fine-tuning."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import findings, scene
from .segments import Part, partOf

SCAN, MASK = "ct.nrrd", "mask.nrrd"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def partsOf(segmentation: "slicer.vtkMRMLSegmentationNode") -> list[Part]:
    """Copies of every segment's voxels, in its own box, but those of rejected findings; takes milliseconds."""
    rejected = findings.rejected(scene.rowsOf(segmentation))
    identities = segmentation.GetSegmentation().GetSegmentIDs()
    found = (partOf(segmentation, identity) for identity in identities if identity not in rejected)
    return [part for part in found if part is not None]


def paint(parts: list[Part], shape: "tuple[int, int, int]", ijk_to_ras: np.ndarray) -> np.ndarray:
    """The union of segments on a grid (k, j, i), uint8; by nearest neighbour where theirs is another grid."""
    mask = np.zeros(shape, np.uint8)
    for array, matrix in parts:
        to_grid = np.linalg.inv(ijk_to_ras) @ matrix
        corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in reversed(array.shape)))).reshape(3, -1)
        places = to_grid[:3, :3] @ corners + to_grid[:3, 3:]
        first = np.clip(np.floor(places.min(axis=1)).astype(int), 0, shape[::-1])
        last = np.clip(np.ceil(places.max(axis=1)).astype(int) + 1, 0, shape[::-1])
        i, j = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]))
        back = np.linalg.inv(to_grid)
        for k in range(first[2], last[2]):
            index = np.rint(
                np.tensordot(back[:3, :3], np.stack([i, j, np.full_like(i, k)]), 1).T + back[:3, 3]
            )
            index = index.T[::-1].astype(int)
            inside = np.all([(at >= 0) & (at < n) for at, n in zip(index, array.shape, strict=True)], axis=0)
            plane = mask[k, first[1] : last[1], first[0] : last[0]]
            plane[inside] |= array[tuple(at[inside] for at in index)]
    return mask


def writer(
    segmentation: "slicer.vtkMRMLSegmentationNode", mask: Path, scan: "Path | None" = None
) -> Callable[[], Path]:
    """What writes the mask, and the scan beside it where asked, as NRRD; made here, run on a thread.

    Raises RuntimeError where the scan is not in the scene; what it returns raises PESemiSegError, OSError.
    """
    volume = scene.volumeOf(segmentation)
    if volume is None:
        raise RuntimeError(_("The CT of this result is not in the scene"))
    array, parts = slicer.util.arrayFromVolume(volume), partsOf(segmentation)
    matrix = np.asarray(scene.ijkToRas(volume))

    def write() -> Path:
        from PESemiSegLib.volumes.grid import Grid
        from PESemiSegLib.volumes.write import write_nrrd

        grid = Grid(array.shape, _LPS @ matrix)
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_nrrd(mask, paint(parts, array.shape, matrix), grid)
        if scan is not None:
            hu = (np.clip(np.rint(plane), -1024, 32767).astype(np.int16) for plane in array)
            write_nrrd(scan, hu, grid, dtype=np.int16)
        return mask

    return write
