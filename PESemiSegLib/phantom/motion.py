"""Motion during the scan: the beating heart doubles the contours of the vessels around it."""

import numpy as np
from scipy import ndimage

from PESemiSegLib.phantom.landmarks import Landmarks
from PESemiSegLib.phantom.scanner import Acquisition

_BEAT_SLAB_MM = 12.0
"""How far the table moves in about one heart beat."""


def blur_motion(
    hu: np.ndarray, acquisition: Acquisition, landmarks: Landmarks, rng: np.random.Generator
) -> None:
    """Average, in place, each slice near the heart with copies shifted by up to ``motion_mm`` either way.

    The shift swells and fades along z with the beat, and falls off with the distance from the heart.
    """
    pixel_mm = acquisition.pixel_mm
    z, y, x = landmarks.heart_zyx
    reach = 2.0 * landmarks.heart_radius_mm
    rows, columns = (_window(centre, reach / pixel_mm, acquisition.matrix) for centre in (y, x))
    dy = (np.arange(acquisition.matrix)[rows] - y)[:, None] * pixel_mm
    dx = (np.arange(acquisition.matrix)[columns] - x)[None, :] * pixel_mm
    direction, phase = rng.uniform(0, np.pi), rng.uniform(0, np.pi)
    for k in range(len(hu)):
        dz = (k - z) * acquisition.increment_mm
        size_mm = acquisition.motion_mm * abs(np.sin(phase + np.pi * dz / _BEAT_SLAB_MM))
        if abs(dz) > reach or size_mm < 0.2:
            continue
        weight = np.exp(-(dx**2 + dy**2 + dz**2) / landmarks.heart_radius_mm**2).astype(np.float32)
        shift = size_mm / pixel_mm * np.array([np.sin(direction), np.cos(direction)])
        still = hu[k, rows, columns]
        moved = ndimage.shift(still, shift, order=1, mode="nearest")
        moved += ndimage.shift(still, -shift, order=1, mode="nearest")
        still += weight * (moved / 2.0 - still)


def _window(centre: float, reach: float, size: int) -> slice:
    return slice(max(0, int(centre - reach)), max(1, min(size, int(centre + reach) + 1)))
