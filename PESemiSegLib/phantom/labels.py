"""How annotators draw: strict and generous label styles, and the noise of human hands."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_BACKGROUND_MM = 1.0e3
_LARGEST_VOXEL_MM = 0.9
"""Erosion by a share of a coarser voxel than this would leave nothing of a segmental clot."""


@dataclass(frozen=True)
class LabelStyle:
    """What a hospital's annotators call clot.

    erosion_voxels: the drawn edge lies this far inside the true one (strict). dilation_mm: the opacified
    lumen around the obstruction that is included (generous), (low, high) drawn per lesion. rim_voxels: how
    far beyond the lumen, into the partial volume of its wall, the drawing may reach. displacement_mm: SD of a
    shift of a whole patient's label in-plane. jitter_mm, jitter_length_mm: SD and correlation length of the
    wobble of the boundary. miss_subsegmental: chance that a subsegmental lesion is not drawn at all.
    """

    name: str
    erosion_voxels: tuple[float, float] = (0.0, 0.0)
    dilation_mm: tuple[float, float] = (0.0, 0.0)
    rim_voxels: float = 0.0
    displacement_mm: float = 0.0
    jitter_mm: float = 0.25
    jitter_length_mm: float = 3.0
    miss_subsegmental: float = 0.15


STRICT = LabelStyle("strict", erosion_voxels=(0.3, 0.5), miss_subsegmental=0.10)
GENEROUS = LabelStyle("generous", dilation_mm=(2.0, 4.0), rim_voxels=1.2, miss_subsegmental=0.15)
DISPLACED = LabelStyle(
    "generous, displaced", dilation_mm=(2.0, 4.0), rim_voxels=1.2, displacement_mm=1.0, miss_subsegmental=0.20
)


def annotate(
    style: LabelStyle,
    clot_sdf_mm: np.ndarray,
    lesions: np.ndarray,
    artery: np.ndarray,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    subsegmental: Mapping[int, bool] | None = None,
) -> tuple[np.ndarray, list[int]]:
    """Draw every lesion of a patient in the style of a hospital.

    clot_sdf_mm (z, y, x): signed distance to the exact clot, negative inside; lesions: instance ids, 0
    outside; artery: lumen including clots; spacing_mm: (x, y, z); subsegmental: by lesion id, whether it is
    easily missed.

    Returns the label, uint8 (z, y, x), and the ids of the lesions that were missed.
    """
    label = np.zeros(lesions.shape, np.uint8)
    missed: list[int] = []
    shift_mm = rng.normal(0.0, 1.0, 2) * style.displacement_mm
    reach_mm = style.dilation_mm[1] + 3.0 + float(np.abs(shift_mm).max())
    for lesion_id, box in enumerate(ndimage.find_objects(lesions), start=1):
        if box is None:
            continue
        hands = np.random.default_rng(rng.integers(2**63))
        if (subsegmental or {}).get(lesion_id, False) and hands.random() < style.miss_subsegmental:
            missed.append(lesion_id)
            continue
        window = _grow(box, reach_mm, spacing_mm, lesions.shape)
        sdf = np.where(
            (lesions[window] == lesion_id) | (clot_sdf_mm[window] > 0), clot_sdf_mm[window], _BACKGROUND_MM
        )
        drawn = _draw(style, sdf, lesions[window] == lesion_id, artery[window], spacing_mm, shift_mm, hands)
        label[window] |= drawn
    return label, missed


def _draw(
    style: LabelStyle,
    sdf_mm: np.ndarray,
    own: np.ndarray,
    artery: np.ndarray,
    spacing_mm: tuple[float, float, float],
    shift_mm: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One lesion in its window, bool: grown or shrunk, with a wobbling boundary, perhaps shifted."""
    voxel_mm = float(np.sqrt(spacing_mm[0] * spacing_mm[1]))
    sampling = spacing_mm[::-1]
    distance = ndimage.distance_transform_edt(~own, sampling=sampling)
    wobble = _wobble(own.shape, style, spacing_mm, rng)
    offset_mm = rng.uniform(*style.dilation_mm)
    offset_mm -= min(voxel_mm, _LARGEST_VOXEL_MM) * rng.uniform(*style.erosion_voxels)
    if style.dilation_mm[1] > 0:
        lumen = artery > 0
        if style.rim_voxels:
            beyond = ndimage.distance_transform_edt(~lumen, sampling=sampling)
            lumen = beyond <= style.rim_voxels * voxel_mm + wobble
        drawn = (distance <= offset_mm + wobble) & (lumen | own)
    else:
        drawn = own & (sdf_mm <= offset_mm + wobble)
        drawn |= ~own & (distance <= voxel_mm) & (sdf_mm <= offset_mm + wobble)
    if not drawn.any():
        drawn = own & (sdf_mm <= np.quantile(sdf_mm[own], 0.5))  # something small was seen: its core is drawn
    if shift_mm.any():
        shift = (0.0, shift_mm[1] / spacing_mm[1], shift_mm[0] / spacing_mm[0])
        drawn = ndimage.shift(drawn.astype(np.float32), shift, order=1) >= 0.5
    return drawn


def _wobble(
    shape: tuple[int, ...],
    style: LabelStyle,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """A smooth random field with SD ``jitter_mm``: where the hand strays outwards (> 0) and inwards."""
    sigma = [style.jitter_length_mm / s for s in spacing_mm[::-1]]
    field = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma, mode="wrap")
    field -= field.mean()  # style, not chance, says how large a label is
    spread = float(field.std())
    return field * (style.jitter_mm / spread) if spread > 0 else field


def _grow(
    box: tuple[slice, ...], reach_mm: float, spacing_mm: tuple[float, float, float], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """The box widened by ``reach_mm`` on each side, kept inside the volume."""
    margins = [int(np.ceil(reach_mm / s)) for s in spacing_mm[::-1]]
    sides = zip(box, margins, shape, strict=True)
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin)) for side, margin, size in sides
    )
