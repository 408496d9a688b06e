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
LONG_LUNG_MM = 150.0  # so much lung along z shows which part of the chest a slice belongs to
LEAST_BLOOD_ML = 1.5
CONTRAST_STEP_HU = 60.0  # between blood and muscle; less than this is one tissue with noise


@dataclass(frozen=True)
class Enhancement:
    """HU of the blood. `trunk` tells whether the heights of the pulmonary trunk are in the image."""

    hu: float
    noise_hu: float  # standard deviation among voxels 3 mm apart within that blood
    trunk: bool
    volume_ml: float  # of the blood that was measured


def estimate(hu: np.ndarray, lungs: LungField) -> Enhancement | None:
    """Measure the blood in the pulmonary trunk of `hu` int16 (z, y, x); None where nothing can be measured.

    The trunk lies left of and before the windpipe, within 45 mm below the carina, where neither bone nor the
    aortic arch is. There smooth voxels are parted into blood and muscle (Otsu); the median of the brighter
    part counts when it is bright enough to be another tissue, else the median of all (no contrast agent).
    Where the carina is not found, the space between the lungs, before their middle, is taken at the trunk's
    usual height, or at every height of a short scan.
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
        trunk=carina is not None or lungs.length_mm > LONG_LUNG_MM,
        volume_ml=float(blood.sum() * voxel_ml),
    )


def find_carina(lungs: LungField) -> tuple[int, int, int] | None:
    """Coarse (z, y, x) of the lowest section of the windpipe; None where it cannot be followed.

    Followed from the top: sections of 100 to 700 mm2, alike in area, that move little from slice to slice and
    may be hidden for 30 mm. An end in the upper quarter of the lungs is a loss of the track, not the carina.
    """
    dz, dy, dx = lungs.coarse_spacing_mm
    middle = lungs.midline / lungs.stride[2]
    track: list[tuple[int, float, float, float]] = []
    for k in range(lungs.airway.shape[0] - 1, -1, -1):
        for area, y, x in _sections(lungs.airway[k], dy * dx):
            if abs(x - middle) * dx > 25 or not 100 <= area <= 700:
                continue
            if track:
                k0, y0, x0, area0 = track[-1]
                drop = (k0 - k) * dz
                moved = abs(x - x0) * dx > 6 + 0.2 * drop or abs(y - y0) * dy > 8 + 0.7 * drop
                if drop > 30 or moved or not 0.55 < area / area0 < 1.8:
                    continue
            track.append((k, y, x, area))
            break
    if len(track) < 2:
        return None
    k, y, x, _ = track[-1]
    first, last = (n / lungs.stride[0] for n in lungs.slice_range)
    apex_seen = lungs.area_mm2[-1] < 0.1 * lungs.area_mm2.max()
    if apex_seen and lungs.length_mm > LONG_LUNG_MM and k > last - 0.25 * (last - first):
        return None
    return (k, round(y), round(x))


def _sections(plane: np.ndarray, pixel_mm2: float) -> list[tuple[float, float, float]]:
    """Area (mm2), row and column of each connected piece of `plane`."""
    labels, count = ndimage.label(plane)
    index = range(1, count + 1)
    sizes = ndimage.sum_labels(plane, labels, index)
    centres = ndimage.center_of_mass(plane, labels, index)
    return [(float(n) * pixel_mm2, *centre) for n, centre in zip(sizes, centres, strict=True)]


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
    first, last = (n / lungs.stride[0] for n in lungs.slice_range)
    slices = np.arange(lungs.mask.shape[0])
    if lungs.length_mm > LONG_LUNG_MM:  # the heights at which the trunk lies
        ahead = (
            ahead
            & ((slices > first + 0.4 * (last - first)) & (slices < last - 0.25 * (last - first)))[:, None]
        )
    return ahead[:, :, None] & central[None, None, :] & _soft_space(lungs)


def _soft_space(lungs: LungField) -> np.ndarray:
    """Between the lungs in the sense of a row: lung to the right and to the left; less lungs and airways."""
    lung = lungs.both_sides
    left = np.logical_or.accumulate(lung, axis=2)
    right = np.logical_or.accumulate(lung[..., ::-1], axis=2)[..., ::-1]
    airy = ndimage.binary_dilation(lungs.solid | lungs.airway, np.ones((1, 3, 3), dtype=bool))
    return np.asarray(left & right & ~airy)
