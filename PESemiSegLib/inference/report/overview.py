"""Owns the overview pictures: maximum-intensity projections with the place of each finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.inference.lungs import LungField
from PESemiSegLib.inference.report.encode import outline_path, png_uri, resized, windowed
from PESemiSegLib.inference.report.planes import VIEWS, View

if TYPE_CHECKING:
    from PESemiSegLib.inference.result import Result

WINDOW = (1000.0, 300.0)  # wider than for one plane: a ray finds the brightest of many vessels
DEPTH_MM = 6.0  # of chest wall and ribs' bulges that rays leave out
SPINE_HALF_MM, SPINE_FROM = (
    48.0,
    0.58,
)  # beside the midline; from this share of the lungs' depth, front to back
_SIDE_PX = 460.0


@dataclass(frozen=True)
class Marker:
    """The place of a finding in an overview, in picture units."""

    id: int
    x: float
    y: float


@dataclass(frozen=True)
class Shadow:
    """All marks of one class, projected."""

    name: str
    colour: str  # CSS; "" for the page's own colour of marks
    path: str  # SVG


@dataclass(frozen=True)
class Overview:
    """A projection along one axis, with the shadows of all marks, one for each class."""

    view: View
    width: float
    height: float
    image: str  # data URI
    shadows: list[Shadow]
    markers: list[Marker]


def overviews_of(result: Result) -> list[Overview]:
    """The coronal and the sagittal projection of the computed box, at one scale.

    Only what lies inside the lungs' outer edges and before the spine is projected: bones would hide every
    vessel.
    """
    inside = _between_lungs(result)
    box, (along_z, *in_plane) = result.box, result.box.slices
    views = [view for view in VIEWS if view.name != "axial"]
    rays: dict[str, list[np.ndarray]] = {view.name: [] for view in views}
    for k in range(along_z.start, along_z.stop):
        plane = result.volume.hu[k]
        seen = np.where(inside[k], plane, np.int16(-1024)) if inside is not None else plane
        for view in views:
            rays[view.name].append(seen[tuple(in_plane)].max(axis=view.normal - 1))
    px_per_mm = _SIDE_PX / max(n * step for n, step in zip(box.shape, _spacing(result), strict=True))
    return [_overview(result, view, np.stack(rays[view.name]), px_per_mm) for view in views]


def _spacing(result: Result) -> tuple[float, float, float]:
    x, y, z = result.volume.spacing_mm
    return (z, y, x)


def _between_lungs(result: Result) -> _Inside | None:
    """Where rays look, slice by slice on the full grid; None where there are no lungs."""
    return _Inside(result.lungs) if result.lungs.found else None


class _Inside:
    """Well inside the hull of both lungs and before the spine: `inside[k]` is bool (y, x) of slice k.

    The depth below the surface is kept on the lungs' coarse grid, and interpolated: its edge is smooth.
    """

    def __init__(self, lungs: LungField) -> None:
        from scipy import ndimage

        hull = _hulls(lungs.both_sides) & ~_spine(lungs)
        self._depth_mm = ndimage.distance_transform_edt(hull, sampling=lungs.coarse_spacing_mm)
        self._at = [
            np.minimum(np.arange(size) / step, coarse - 1.0)
            for size, step, coarse in zip(lungs.full_shape, lungs.stride, hull.shape, strict=True)
        ]

    def __getitem__(self, k: int) -> np.ndarray:
        z, rows, columns = self._at[0][k], self._at[1], self._at[2]
        low, high = self._depth_mm[int(z)], self._depth_mm[min(int(z) + 1, len(self._depth_mm) - 1)]
        coarse = low + (z - int(z)) * (high - low)
        return np.asarray(_between(_between(coarse, rows).T, columns).T > DEPTH_MM)


def _between(plane: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of a plane at fractional places, linear."""
    low = at.astype(int)
    high = np.minimum(low + 1, len(plane) - 1)
    share = (at - low)[:, None]
    return np.asarray(plane[low] * (1 - share) + plane[high] * share)


def _hulls(lungs: np.ndarray) -> np.ndarray:
    from skimage.morphology import convex_hull_image

    return np.stack([convex_hull_image(plane) if plane.any() else plane for plane in lungs])


def _spine(lungs: LungField) -> np.ndarray:
    """What lies between the lungs in their rear part: vertebrae and the heads of the ribs."""
    both = lungs.both_sides
    dx = lungs.coarse_spacing_mm[2]
    near = np.abs(np.arange(both.shape[2]) * dx - lungs.midline * lungs.spacing_mm[0]) < SPINE_HALF_MM
    spine = np.zeros_like(both)
    for plane, lung in zip(spine, both, strict=True):
        rows = np.flatnonzero(lung.any(1))
        if rows.size:
            first = round(rows[0] + SPINE_FROM * (rows[-1] - rows[0]))
            plane[first:] = near
    return spine & ~lungs.solid


def _overview(result: Result, view: View, hu: np.ndarray, px_per_mm: float) -> Overview:
    rows_mm, _, _ = spacing = _spacing(result)
    scale = (rows_mm * px_per_mm, spacing[view.columns] * px_per_mm)
    height, width = hu.shape[0] * scale[0], hu.shape[1] * scale[1]
    grey = windowed(resized(hu[::-1], (max(1, round(height)), max(1, round(width)))), *WINDOW)
    return Overview(
        view=view,
        width=round(width, 1),
        height=round(height, 1),
        image=png_uri(grey),
        shadows=_shadows(result, view, scale),
        markers=_markers(result, view, scale, hu.shape[0]),
    )


def _shadows(result: Result, view: View, scale: tuple[float, float]) -> list[Shadow]:
    mask, several = result.mask[result.box.slices], len(result.segments) > 1
    shadows = []
    for value, segment in enumerate(result.segments, start=1):
        shadow = (mask == value).any(axis=view.normal)[::-1]
        if shadow.any():
            colour = "rgb({} {} {})".format(*segment.colour_rgb) if several else ""
            shadows.append(Shadow(segment.name, colour, outline_path(shadow, scale)))
    return shadows


def _markers(result: Result, view: View, scale: tuple[float, float], rows: int) -> list[Marker]:
    if not result.findings:
        return []
    centres = np.array([finding.centroid_lps_mm for finding in result.findings])
    kji = result.volume.grid.to_ijk(centres)[:, ::-1] - result.box.start
    return [
        Marker(
            finding.id,
            x=round(float(place[view.columns] + 0.5) * scale[1], 1),
            y=round(float(rows - 0.5 - place[0]) * scale[0], 1),
        )
        for finding, place in zip(result.findings, kji, strict=True)
    ]
