"""Where it is worth looking: points on emboli, look-alikes, bright vessels and in lung, once per volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LUNG, VESSEL, EMBOLUS, LOOKALIKE = 0, 1, 2, 3
_AIR_HU = -400
_VESSEL_HU = (130, 600)
_CLOT_HU = (0, 120)
_LOOKALIKE_MM = (2.5, 15.0)  # thinner is the rim of a vessel, wider is heart or chest wall
_COARSE = 4
_NEAR_LUNG_MM = 30.0
_MAX_PER_KIND = 4000
_PER_LESION = (6, 24)
_PER_CLASS = 500


def find_anchors(
    hu: np.ndarray,
    mask: np.ndarray | None,
    spacing_mm: tuple[float, float],
    rng: np.random.Generator,
    classes: int = 2,
) -> np.ndarray:
    """Centres for crops, int16 (N, 4): kind (LUNG, VESSEL, EMBOLUS, LOOKALIKE), z, y, x.

    hu: int16 (z, y, x); mask: uint8 alike or None; spacing_mm: (in-plane, between slices). Every embolus gets
    between 6 and 24 of them, so small clots are seen far more often than their share of voxels. With more
    than two classes the marks are organs, not lesions, and each class gets the same number.
    """
    near = _near_lung(hu, spacing_mm)
    emboli = []
    if mask is not None and mask.any():
        organs = [mask == k for k in range(1, classes) if classes > 2 and (mask == k).any()]
        emboli = [_some(EMBOLUS, organ, rng, _PER_CLASS) for organ in organs] or [_emboli(mask, rng)]
    fine = np.zeros(hu.shape, bool)
    fine[:] = np.repeat(np.repeat(near, _COARSE, 1), _COARSE, 2)[:, : hu.shape[1], : hu.shape[2]]
    vessel = fine & (hu > _VESSEL_HU[0]) & (hu < _VESSEL_HU[1])
    others = [
        _some(VESSEL, vessel, rng),
        _some(LUNG, fine & (hu < _AIR_HU), rng),
        _some(LOOKALIKE, _lookalikes(hu, mask, fine, spacing_mm[0]), rng),
    ]
    if not any(map(len, others)):  # no lung in the field: anywhere will do
        others.append(_some(LUNG, np.ones(hu.shape, bool), rng))
    return np.concatenate([*emboli, *others]).astype(np.int16)


def _near_lung(hu: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Lung and mediastinum on every fourth pixel: the hull of air that does not touch the field's edge."""
    pad = [(0, 0), (0, -hu.shape[1] % _COARSE), (0, -hu.shape[2] % _COARSE)]
    coarse = np.pad(hu, pad, mode="edge")[:, ::_COARSE, ::_COARSE]
    labels, count = ndimage.label(coarse < _AIR_HU)
    if not count:
        return np.zeros(coarse.shape, bool)
    keep = np.bincount(labels.ravel(), minlength=count + 1) > 0.002 * coarse.size
    keep[0] = False
    for border in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        keep[np.unique(border)] = False
    lung = keep[labels]
    if not lung.any():
        return lung
    step = spacing_mm[0] * _COARSE
    distance = ndimage.distance_transform_edt(~lung, sampling=(max(spacing_mm[1], 1e-3), step, step))
    near: np.ndarray = (distance <= _NEAR_LUNG_MM) & _hulls(lung)
    return near


def _hulls(lung: np.ndarray) -> np.ndarray:
    """The convex hull of every slice: both lungs and the mediastinum, without spine, ribs and chest wall."""
    from skimage.morphology import convex_hull_image

    hull = np.zeros_like(lung)
    for filled, plane in zip(hull, lung, strict=True):
        if np.count_nonzero(plane) > 3:
            filled[:] = convex_hull_image(plane)
    return hull


def _lookalikes(hu: np.ndarray, mask: np.ndarray | None, near: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Small pieces of soft tissue as dense as clot: nodes, mucus plugs, unenhanced veins, walls."""
    soft = (near & (hu > _CLOT_HU[0]) & (hu < _CLOT_HU[1])).astype(np.uint8)
    if mask is not None:
        soft[mask > 0] = 0
    thin, wide = (max(1, round(size / pixel_mm)) for size in _LOOKALIKE_MM)
    # Openings with squares: as two one-dimensional filters each, far quicker than the binary kind.
    kept = ndimage.grey_opening(soft, size=(1, thin, thin))
    small: np.ndarray = kept > ndimage.grey_opening(kept, size=(1, wide, wide))
    return small


def _emboli(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    labels, _ = ndimage.label(mask > 0, structure=np.ones((3, 3, 3)))
    voxels = np.argwhere(labels)
    owner = labels[tuple(voxels.T)]
    chosen = []
    for lesion in range(1, int(owner.max()) + 1):
        mine = np.flatnonzero(owner == lesion)
        wanted = min(len(mine), int(np.clip(1.5 * np.cbrt(len(mine)), *_PER_LESION)))
        chosen.append(rng.choice(mine, wanted, replace=False))
    points = voxels[np.concatenate(chosen)]
    return np.column_stack([np.full(len(points), EMBOLUS), points])


def _some(kind: int, where: np.ndarray, rng: np.random.Generator, most: int = _MAX_PER_KIND) -> np.ndarray:
    flat = np.flatnonzero(where)
    if len(flat) > most:
        flat = rng.choice(flat, most, replace=False)
    points = np.column_stack(np.unravel_index(np.sort(flat), where.shape))
    return np.column_stack([np.full(len(points), kind), points])
