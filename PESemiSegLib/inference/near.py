"""Owns what lies within some millimetres of something, in the memory of a few slices at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_VOXELS = 4_000_000  # of a slab: distances take some 70 bytes a voxel while they are computed


def within(targets: np.ndarray, reach_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Where a target is no farther than the reach, bool (z, y, x); spacing is (x, y, z)."""
    return _decided(targets, reach_mm, spacing_mm, lambda away: away <= reach_mm)


def beyond(targets: np.ndarray, reach_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Where no target is nearer than the reach, bool (z, y, x); spacing is (x, y, z)."""
    return _decided(targets, reach_mm, spacing_mm, lambda away: away >= reach_mm)


def _decided(
    targets: np.ndarray,
    reach_mm: float,
    spacing_mm: tuple[float, float, float],
    decide: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """`decide` of the distances; slab by slab, which changes none that is within the reach."""
    from scipy.ndimage import distance_transform_edt

    step = spacing_mm[::-1]
    halo = int(np.ceil(max(reach_mm, 0.0) / step[0])) + 1
    thick = max(halo, _VOXELS // max(1, targets[0].size)) if len(targets) else 1
    found = np.empty(targets.shape, dtype=bool)
    for first in range(0, len(targets), thick):
        low = max(0, first - halo)
        block = targets[low : first + thick + halo] != 0
        if block.any():
            away = distance_transform_edt(~block, sampling=step)[first - low :][:thick]
        else:
            away = np.full(found[first : first + thick].shape, np.inf)
        found[first : first + thick] = decide(away)
    return found
