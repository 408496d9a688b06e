"""Owns the clot burden: what share of the pulmonary arteries is filled with clot, by the vessels' calibre.

The levels are told by the tree's local diameter, since a mask has no branches: central (trunk, right and left
artery), lobar, and segmental and smaller. Like the artery mask itself, they are estimates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from PESemiSegLib.inference.near import beyond, within

CENTRAL_MM, LOBAR_MM = 14.0, 7.0
"""Least diameter of central and of lobar arteries: the trunk has some 27 mm, right and left artery 20 to 24,
segmental arteries 4 to 7."""
REACH_MM = 3.0
"""A mark so near to the artery mask still lies within the search region: both outlines are uncertain."""

LEVELS = ("central", "lobar", "segmental and smaller")


@dataclass(frozen=True)
class LevelBurden:
    """One level of the tree: volumes in ml, and the share that is clot (None where there is no artery)."""

    artery_ml: float
    clot_ml: float

    @property
    def share(self) -> float | None:
        """Clot of the arteries, 0 to 1."""
        return self.clot_ml / self.artery_ml if self.artery_ml > 0 else None


@dataclass(frozen=True)
class Burden:
    """The clot in the whole tree and on each level; `model` is that of the artery mask, name and SHA-256."""

    total: LevelBurden
    levels: dict[str, LevelBurden]
    model: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        rows = {"total": self.total, **self.levels}
        return {"model": self.model} | {n: asdict(row) | {"share": row.share} for n, row in rows.items()}


def search_region(artery: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Where marks may stand: within REACH_MM of the artery, bool (z, y, x); spacing is (x, y, z)."""
    from PESemiSegLib.inference.findings import bounding_box

    region = np.zeros(artery.shape, dtype=bool)
    box = bounding_box(artery)
    if box is not None:  # the distances of a whole scan would fill gigabytes
        margin = [int(np.ceil(REACH_MM / step)) for step in reversed(spacing_mm)]
        around = tuple(
            slice(max(0, part.start - more), part.stop + more)
            for part, more in zip(box.slices, margin, strict=True)
        )
        region[around] = within(artery[around], REACH_MM, spacing_mm)
    return region


def clot_burden(
    clot: np.ndarray,
    artery: np.ndarray,
    spacing_mm: tuple[float, float, float],
    model: dict[str, str] | None = None,
) -> Burden:
    """Measure the clot as a share of the tree, which is the artery mask with the clots in it.

    clot, artery: (z, y, x), non-zero = marked; spacing_mm: (x, y, z). Raises ValueError on unequal shapes.
    """
    if clot.shape != artery.shape:
        raise ValueError(f"clot {clot.shape} and artery {artery.shape} differ in shape")
    filled = clot != 0
    tree = filled | (artery != 0)
    level = levels_of(tree, spacing_mm)
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    arteries = np.bincount(level[tree], minlength=len(LEVELS) + 1)[1:] * voxel_ml
    clots = np.bincount(level[filled], minlength=len(LEVELS) + 1)[1:] * voxel_ml
    rows = [LevelBurden(float(a), float(c)) for a, c in zip(arteries, clots, strict=True)]
    total = LevelBurden(float(arteries.sum()), float(clots.sum()))
    return Burden(total, dict(zip(LEVELS, rows, strict=True)), model or {})


def levels_of(tree: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The level of each voxel of a tree, uint8 (z, y, x): 1 central, 2 lobar, 3 beyond, 0 outside.

    A voxel belongs to the widest level whose ball fits into the tree over it (a morphological opening).
    """
    from PESemiSegLib.inference.findings import bounding_box

    level = np.zeros(tree.shape, np.uint8)
    box = bounding_box(tree)
    if box is None:
        return level
    part = np.pad(tree[box.slices], 1)
    inner = (slice(1, -1),) * 3
    found = np.where(part, np.uint8(3), np.uint8(0))
    for value, diameter_mm in ((2, LOBAR_MM), (1, CENTRAL_MM)):
        found[_opened(part, diameter_mm / 2.0, spacing_mm)] = value
    level[box.slices] = found[inner]
    return level


def _opened(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """What balls of this radius, which fit into the mask, cover; bool."""
    # Centres lie half a voxel inside the outline that they are measured to.
    centres = beyond(~mask, radius_mm - 0.5 * float(min(spacing_mm)), spacing_mm)
    return mask & within(centres, radius_mm, spacing_mm)
