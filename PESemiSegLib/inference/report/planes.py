"""Owns the pictures of one finding: three planes cut through it, as a radiologist is used to see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.inference.report.encode import (
    confidence_colours,
    outline_path,
    png_uri,
    resized,
    windowed,
)
from PESemiSegLib.inference.result import Box

if TYPE_CHECKING:
    from PESemiSegLib.inference.result import Finding, Result

WINDOW = (700.0, 100.0)  # width, level in HU: the usual one for CT pulmonary angiography
PICTURE_PX = 280
_FIELD_MM = (60.0, 160.0)  # smallest and largest field of view
_MARGIN_MM = 15.0
_HALO_MM = 3.0  # the confidence is coloured on the mark and this far around it
_ALPHA = 0.6


@dataclass(frozen=True)
class View:
    """A viewing direction on the working grid (z, y, x), in radiological convention."""

    name: str
    normal: int  # array axis that the plane cuts across
    rows: int
    columns: int
    up: bool  # whether the first row is the highest index: z runs upwards on the screen
    labels: tuple[str, str, str, str]  # left, right, top, bottom of the picture


VIEWS = (
    View("axial", 0, 1, 2, False, ("R", "L", "A", "P")),
    View("coronal", 1, 0, 2, True, ("R", "L", "H", "F")),
    View("sagittal", 2, 0, 1, True, ("A", "P", "H", "F")),
)


@dataclass(frozen=True)
class Picture:
    """One plane ready for the page: a grey PNG, and over it SVG paths and a transparent confidence PNG."""

    view: View
    width: float  # of the picture, in its own units (px)
    height: float
    image: str  # data URI
    overlay: str  # data URI, "" where there is none
    outline: str  # SVG path of this finding
    others: str  # SVG path of other marks in the field
    position: str  # where the plane lies, for the caption
    px_per_mm: float


def pictures_of(result: Result, finding: Finding) -> list[Picture]:
    """The three planes through `finding`, each at the index where its area is largest."""
    shape, spacing = result.volume.shape, result.volume.spacing_mm[::-1]
    own = result.finding_mask(finding)
    extent = [n * step for n, step in zip(finding.box.shape, spacing, strict=True)]
    field = float(np.clip(max(extent) + 2 * _MARGIN_MM, *_FIELD_MM))
    centre = [(a + b) / 2 for a, b in zip(finding.box.start, finding.box.stop, strict=True)]
    pictures = []
    for view in VIEWS:
        area = own.sum(axis=tuple(axis for axis in range(3) if axis != view.normal))
        index = finding.box.start[view.normal] + int(area.argmax())
        start, stop = [0, 0, 0], [0, 0, 0]
        for axis in range(3):
            half = field / spacing[axis] / 2
            start[axis], stop[axis] = round(centre[axis] - half), round(centre[axis] + half)
        start[view.normal], stop[view.normal] = index, index + 1
        box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        pictures.append(_picture(result, finding, own, view, box, shape, spacing))
    return pictures


def _picture(
    result: Result,
    finding: Finding,
    own: np.ndarray,
    view: View,
    box: Box,
    shape: tuple[int, int, int],
    spacing: tuple[float, ...],
) -> Picture:
    row_mm, column_mm = spacing[view.rows], spacing[view.columns]
    hu = _seen(_cropped(result.volume.hu, Box.whole(shape), box, fill=-1024), view)
    mark = _seen(_cropped(own, finding.box, box, fill=0), view) > 0
    others = (_seen(_cropped(result.mask, Box.whole(shape), box, fill=0), view) > 0) & ~mark
    confidence = _seen(result.confidence.crop(box), view)
    px_per_mm = PICTURE_PX / max(hu.shape[0] * row_mm, hu.shape[1] * column_mm)
    scale = (row_mm * px_per_mm, column_mm * px_per_mm)
    height, width = hu.shape[0] * scale[0], hu.shape[1] * scale[1]
    grey = windowed(resized(hu, (round(height), round(width))), *WINDOW)
    alpha = _ALPHA * _near(mark | others, (row_mm, column_mm))
    return Picture(
        view=view,
        width=round(width, 1),
        height=round(height, 1),
        image=png_uri(grey),
        overlay=png_uri(confidence_colours(confidence, alpha)) if alpha.any() else "",
        outline=outline_path(mark, scale),
        others=outline_path(others, scale) if others.any() else "",
        position=_position(result, view, box),
        px_per_mm=px_per_mm,
    )


def _cropped(array: np.ndarray, held: Box, wanted: Box, fill: int) -> np.ndarray:
    """The part of a grid inside `wanted`, of an array that holds the box `held` of that grid."""
    out = np.full(wanted.shape, fill, dtype=array.dtype)
    lo = [max(a, b) for a, b in zip(held.start, wanted.start, strict=True)]
    hi = [min(a, b) for a, b in zip(held.stop, wanted.stop, strict=True)]
    if all(a < b for a, b in zip(lo, hi, strict=True)):
        to = tuple(slice(a - o, b - o) for a, b, o in zip(lo, hi, wanted.start, strict=True))
        of = tuple(slice(a - o, b - o) for a, b, o in zip(lo, hi, held.start, strict=True))
        out[to] = array[of]
    return out


def _seen(block: np.ndarray, view: View) -> np.ndarray:
    """A block (z, y, x) one voxel thick along the view's normal, as the picture shows it."""
    plane = block.take(0, axis=view.normal)
    return plane[::-1] if view.up else plane


def _near(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Boolean plane: within the halo of a mark."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.zeros(mask.shape, dtype=bool)
    return np.asarray(distance_transform_edt(~mask, sampling=spacing_mm) <= _HALO_MM)


def _position(result: Result, view: View, box: Box) -> str:
    """Of the picture's middle: in a scan that is turned a little a plane has no position of its own."""
    index = box.start[view.normal]
    ijk = [(a + b - 1) / 2 for a, b in zip(box.start[::-1], box.stop[::-1], strict=True)]
    millimetres = float(result.volume.grid.to_lps(ijk)[2 - view.normal])
    name = ("z", "y", "x")[view.normal]
    place = f"slice {index + 1}, " if view.normal == 0 else ""
    return f"{place}{name} {millimetres:.1f} mm".replace("-", "\u2212")
