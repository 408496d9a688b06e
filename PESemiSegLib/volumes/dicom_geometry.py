"""Where the slices of one stack lie: spacing, gaps and gantry tilt, never the mean spacing in silence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import InputError
from .dicom_headers import Plane
from .grid import FloatArray, Grid
from .wording import some

SAME_PLACE_MM = 0.02
POSITION_ROUNDING_MM = 0.06  # headers that round positions to 0.1 mm are regular
SPACING_TOLERANCE = 0.05  # of the spacing: how far a slice may lie from a regular grid
MOST_PLANES_PER_SLICE = 6  # how much finer than the slices a resampled grid may become


@dataclass(frozen=True)
class Places:
    """The slices' axes and where their first pixels lie along them (mm), in the order of the planes."""

    u: FloatArray  # along a row
    v: FloatArray  # along a column
    normal: FloatArray
    along_u: FloatArray
    along_v: FloatArray
    along_normal: FloatArray


@dataclass(frozen=True)
class StackGeometry:
    """A regular stack for the slices, as `NativeGrid` wants it.

    `positions` holds the (fractional) index of each slice in a resampled stack of `count` planes; None where
    the slices themselves are regular.
    """

    affine: FloatArray
    count: int
    positions: FloatArray | None
    warnings: tuple[str, ...]


def places(planes: list[Plane]) -> Places:
    """Project the first pixels on the common axes of planes of one orientation."""
    axes = np.array([plane.orientation for plane in planes], dtype=np.float64).mean(axis=0)
    u, v = axes[:3], axes[3:]
    u = u / np.linalg.norm(u)
    v = v - (v @ u) * u
    v = v / np.linalg.norm(v)
    normal = np.cross(u, v)
    positions = np.array([plane.position_lps for plane in planes], dtype=np.float64)
    return Places(u, v, normal, positions @ u, positions @ v, positions @ normal)


def axes_are_sound(orientation: tuple[float, ...]) -> bool:
    """Whether row and column directions are unit vectors at a right angle, within a header's rounding."""
    u, v = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    return bool(abs(lengths[0] - 1) < 0.02 and abs(lengths[1] - 1) < 0.02 and abs(u @ v) < 0.01)


def is_regular(along_normal: FloatArray) -> bool:
    """Whether sorted slice positions (mm) lie on a regular grid, within the rounding of a header."""
    if len(along_normal) < 3:
        return True
    index = np.arange(len(along_normal))
    spacing, start = np.polyfit(index, along_normal, 1)
    off = along_normal - start - spacing * index
    allowed = max(POSITION_ROUNDING_MM, SPACING_TOLERANCE * spacing)
    uneven = np.abs(np.diff(along_normal) - spacing).max()
    return bool(np.abs(off).max() <= allowed and uneven <= 2 * allowed)


def is_on_a_line(where: Places, pixel_mm: float) -> bool:
    """Whether the first pixels of sorted slices lie on a straight line, within half a pixel."""
    return all(
        _off_line(where.along_normal, side)[1] <= 0.5 * pixel_mm for side in (where.along_u, where.along_v)
    )


def stack_geometry(planes: list[Plane], name: str) -> StackGeometry:
    """The regular stack for slices that are sorted along their normal and have distinct positions.

    A missing slice or variable spacing gives a finer regular stack to interpolate on; a tilted gantry gives a
    sheared affine.

    Raises:
        InputError: if the slices do not lie on one straight line.
    """
    first = planes[0]
    assert first.pixel_spacing_mm is not None
    assert first.pixels is not None
    row_step, column_step = first.pixel_spacing_mm
    where = places(planes)
    warnings: list[str] = []
    if not is_on_a_line(where, min(row_step, column_step)):
        raise InputError(
            f"{name}: the slices do not lie on one straight line (the table or the field of view moved); "
            "export one acquisition only"
        )
    if len(planes) == 1:
        step, count, positions = _single_step(first, warnings), 1, None
    elif is_regular(where.along_normal):
        step = (where.along_normal[-1] - where.along_normal[0]) / (len(planes) - 1)
        count, positions = len(planes), None
    else:
        step, count, positions = _resampled_steps(where.along_normal, warnings)

    affine = np.eye(4)
    affine[:3, 0] = where.u * column_step
    affine[:3, 1] = where.v * row_step
    affine[:3, 2] = where.normal * step
    affine[:3, 3] = first.position_lps
    tilted = affine.copy()
    tilted[:3, 2] += _drift(where) * step
    if Grid((count, first.pixels.rows, first.pixels.columns), tilted).is_sheared:
        affine = tilted
        warnings.append(_tilt_warning(where))
    elif _states_tilt(where, first):
        warnings.append(
            f"The header states a gantry tilt of {first.tilt_degrees:g} degrees, but the slice positions "
            "show none; the positions were trusted."
        )
    _warn_of_thin_slices(first, step, warnings)
    return StackGeometry(affine, count, positions, tuple(warnings))


def _off_line(along_normal: FloatArray, side: FloatArray) -> tuple[float, float]:
    """Slope of `side` over `along_normal` from first to last slice, and the largest deviation from it."""
    length = along_normal[-1] - along_normal[0]
    slope = (side[-1] - side[0]) / length if length > 0 else 0.0
    return float(slope), float(np.abs(side - side[0] - slope * (along_normal - along_normal[0])).max())


def _drift(where: Places) -> FloatArray:
    """Shift within the plane per mm along the normal: the tangent of a gantry tilt."""
    slope_u = _off_line(where.along_normal, where.along_u)[0]
    slope_v = _off_line(where.along_normal, where.along_v)[0]
    return np.asarray(slope_u * where.u + slope_v * where.v)


def _tilt_warning(where: Places) -> str:
    degrees = math.degrees(math.atan(float(np.linalg.norm(_drift(where)))))
    return (
        f"The gantry was tilted: slices are sheared by {degrees:.1f} degrees. They were brought to a "
        "straight grid by interpolation, and results are written on that grid."
    )


def _states_tilt(where: Places, plane: Plane) -> bool:
    """Whether the header states a tilt that neither the positions nor the orientation show."""
    turn = math.degrees(math.acos(min(1.0, float(np.abs(where.normal).max()))))
    return abs(plane.tilt_degrees) > 0.5 and turn < 0.5 and len(where.along_normal) > 1


def _single_step(plane: Plane, warnings: list[str]) -> float:
    step = plane.slice_thickness_mm or plane.slice_spacing_mm or 1.0
    warnings.append(f"There is one slice only; its thickness was taken as {abs(step):g} mm.")
    return abs(step)


def _resampled_steps(along_normal: FloatArray, warnings: list[str]) -> tuple[float, int, FloatArray]:
    """Step, number of planes and slice positions of a regular stack for irregular slices."""
    gaps = np.diff(along_normal)
    length = float(along_normal[-1] - along_normal[0])
    typical = float(np.percentile(gaps, 25, method="lower"))
    usual = float(np.median(gaps))
    finest = length / (MOST_PLANES_PER_SLICE * len(along_normal))
    if typical < finest:
        typical = max(usual, finest)
    count = round(length / typical) + 1
    step = length / (count - 1)
    positions = (along_normal - along_normal[0]) / step
    nearest = np.rint(positions)
    off = np.abs(positions - nearest).max() * step
    # At the finest step the grid is no longer that of the slices, however near to it they lie.
    on_grid = typical > finest and off <= max(POSITION_ROUNDING_MM, SPACING_TOLERANCE * step)
    if on_grid and np.diff(nearest).all():
        missing = count - len(along_normal)
        wide = [f"{a - along_normal[0]:.1f}" for a, b in pairwise(along_normal) if b - a > 1.5 * step]
        warnings.append(
            f"{missing} of {count} slices are missing: slices are {step:.2f} mm apart, but there are gaps of "
            f"up to {gaps.max():.1f} mm, {some(wide)} mm from the first slice. They were filled by "
            "interpolation; findings there do not come from images."
        )
        positions = nearest
    else:
        warnings.append(
            f"Slices are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm). They were resampled to "
            f"{step:.2f} mm by interpolation, and results are written on that grid."
        )
    return step, count, positions


def _warn_of_thin_slices(plane: Plane, step: float, warnings: list[str]) -> None:
    thickness = plane.slice_thickness_mm
    if thickness and thickness < 0.5 * step:
        warnings.append(
            f"Slices are {thickness:g} mm thick but {step:.1f} mm apart: the space between was not imaged."
        )
