"""Owns the estimate of how far contrast agent has filled the pulmonary trunk, from the HU alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from PESemiSegLib.inference.lungs import LungField

TRUNK_BELOW_CARINA_MM = 45.0
TRUNK_LEFT_MM = (-10.0, 55.0)  # of the midline
TRUNK_AHEAD_MM = 5.0  # of the windpipe's centre
LEAST_BLOOD_ML = 1.5
CONTRAST_STEP_HU = 60.0  # between blood and muscle; less than this is one tissue with noise


@dataclass(frozen=True)
class Enhancement:
    """HU of the blood. `trunk` tells whether the region of the pulmonary trunk was in the image."""

    hu: float
    noise_hu: float  # standard deviation among voxels 3 mm apart within that blood
    trunk: bool
    volume_ml: float  # of the blood that was measured


def estimate(hu: np.ndarray, lungs: LungField) -> Enhancement | None:
    """Measure the blood in the pulmonary trunk of `hu` int16 (z, y, x); None where nothing can be measured.

    The trunk lies left of and before the windpipe, within 45 mm below the carina, where neither bone nor the
    aortic arch is. There smooth voxels are parted into blood and muscle (Otsu); the median of the brighter
    part counts when it is bright enough to be another tissue, else the median of all (no contrast agent).
    Where the carina is not in the image, the whole space between the lungs, before their middle, is taken.
    """
    if not lungs.found:
        return None
    sz, sy, sx = lungs.stride
    sub = hu[::sz, ::sy, ::sx].astype(np.float32)
    smooth = ndimage.uniform_filter(sub, (1, 3, 3))
    variance = ndimage.uniform_filter(sub * sub, (1, 3, 3)) - smooth * smooth
    deviation = np.sqrt(np.maximum(variance, 0.0))
    carina = find_carina(lungs)
    region = _trunk_region(lungs, carina) if carina else _between_lungs(lungs)
    region &= (smooth > 0) & (deviation < 80)
    voxel_ml = float(np.prod(lungs.coarse_spacing_mm)) / 1000
    if region.sum() * voxel_ml < LEAST_BLOOD_ML:
        return None
    values = smooth[region]
    cut = float(threshold_otsu(values)) if np.ptp(values) > 1 else float(values[0])
    bright = region & (smooth > cut)
    step = np.median(smooth[bright]) - np.median(values[values <= cut]) if bright.any() else 0.0
    if step < CONTRAST_STEP_HU or bright.sum() * voxel_ml < LEAST_BLOOD_ML:
        bright = region
    blood = ndimage.binary_erosion(bright, np.ones((1, 3, 3)))
    if blood.sum() * voxel_ml < LEAST_BLOOD_ML / 3:
        blood = bright
    return Enhancement(
        hu=float(np.median(smooth[blood])),
        noise_hu=float(np.median(deviation[blood])),
        trunk=carina is not None,
        volume_ml=float(blood.sum() * voxel_ml),
    )


def find_carina(lungs: LungField) -> tuple[int, int, int] | None:
    """Coarse (z, y, x) of the lowest section of the windpipe; None where it cannot be followed.

    Followed from the top: sections of 100 to 700 mm2 that move little from slice to slice; a main bronchus
    leaves sideways.
    """
    dz, dy, dx = lungs.coarse_spacing_mm
    middle = lungs.midline / lungs.stride[2]
    last: tuple[int, float, float] | None = None
    length = 0
    for k in range(lungs.airway.shape[0] - 1, -1, -1):
        labels, count = ndimage.label(lungs.airway[k])
        for y, x in ndimage.center_of_mass(lungs.airway[k], labels, range(1, count + 1)):
            area = (labels == labels[round(y), round(x)]).sum() * dy * dx
            if not 100 <= area <= 700 or abs(x - middle) * dx > 25:
                continue
            if last is not None:
                drop = (last[0] - k) * dz
                sideways, back = abs(x - last[2]) * dx, abs(y - last[1]) * dy
                if drop > 60 or sideways > 6 + 0.3 * drop or back > 8 + 0.7 * drop:
                    continue
            last, length = (k, y, x), length + 1
            break
    if last is None or length * dz < 9 or length < 2:
        return None
    return (last[0], round(last[1]), round(last[2]))


def _trunk_region(lungs: LungField, carina: tuple[int, int, int]) -> np.ndarray:
    """The box in which the trunk and the left main artery lie, less the lungs and their blurred edge."""
    dz, dy, dx = lungs.coarse_spacing_mm
    k, j, i = carina
    region = np.zeros(lungs.mask.shape, dtype=bool)
    rows = slice(max(0, j - round(70 / dy)), max(0, j - round(TRUNK_AHEAD_MM / dy)))
    columns = slice(max(0, i + round(TRUNK_LEFT_MM[0] / dx)), i + round(TRUNK_LEFT_MM[1] / dx))
    region[max(0, k - round(TRUNK_BELOW_CARINA_MM / dz)) : k + 1, rows, columns] = True
    return region & _soft_space(lungs)


def _between_lungs(lungs: LungField) -> np.ndarray:
    """The space between the lungs and before their middle, which leaves out the spine."""
    rows = np.arange(lungs.mask.shape[1])
    weight = lungs.mask.sum(2)
    middle = (weight * rows).sum(1) / np.maximum(weight.sum(1), 1)
    ahead = rows[None, :] < middle[:, None]
    columns = np.abs(np.arange(lungs.mask.shape[2]) - lungs.midline / lungs.stride[2])
    central = columns * lungs.coarse_spacing_mm[2] < 80
    return ahead[:, :, None] & central[None, None, :] & _soft_space(lungs)


def _soft_space(lungs: LungField) -> np.ndarray:
    """Between the lungs in the sense of a row: lung to the right and to the left; less lungs and airways."""
    lung = lungs.both_sides()
    left = np.logical_or.accumulate(lung, axis=2)
    right = np.logical_or.accumulate(lung[..., ::-1], axis=2)[..., ::-1]
    airy = ndimage.binary_dilation(lungs.solid | lungs.airway, np.ones((1, 3, 3), dtype=bool))
    return np.asarray(left & right & ~airy)
