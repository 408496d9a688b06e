"""Owns the painting of ground glass and consolidations into the air of the lungs, and their exact map."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from PESemiSegLib.phantom.fields import Axes, CoarseField, lattice_noise
from PESemiSegLib.phantom.lungs import HIGH, LOW, Chest
from PESemiSegLib.phantom.opacities import (
    CONSOLIDATION,
    GROUND_GLASS,
    HEALTHY_LUNG,
    Opacities,
    Opacity,
)
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, coverage
from PESemiSegLib.phantom.tissue import effusion_mm

_LONG, _SHORT = 0.8, 0.6
"""Shares of the noise on an outline: of lobulations (15 mm) and of fine fraying (5 mm); 1 in squares."""


def paint_opacities(
    hu: Array, axes: Axes, patient: PatientParameters, chest: Chest, opacities: Opacities
) -> Array:
    """Paint the lesions onto lungs without vessels; those and the airways are drawn over it.

    That is why vessels stay visible in ground glass, why consolidations swallow vessels in a scan without
    contrast, and why bronchi keep their air in them. Returns the exact map, uint8 (z, y, x): GROUND_GLASS,
    CONSOLIDATION, HEALTHY_LUNG with its vessels, 0 elsewhere.
    """
    noise = _Noise.draw(opacities.seed, axes, chest)
    lung, truth = chest.lung.bind(axes), np.zeros(axes.shape, np.uint8)
    width = float(axes.spacing_mm[:2].mean())
    boxes = [
        axes.box(lesion.centre - lesion.reach_mm, lesion.centre + lesion.reach_mm)
        for lesion in opacities.lesions
    ]
    for k in range(axes.shape[0]):
        inside = lung.plane(k)
        if inside.min() > 2.0:
            continue
        wet = effusion_mm(inside, axes.y[:, None], float(axes.z[k]), patient)
        air = (inside < 0) & (wet >= 0 if wet is not None else True)
        truth[k][air] = HEALTHY_LUNG
        reach = coverage(inside, width) if wet is None else coverage(inside, width) * coverage(-wet, 1.5)
        for lesion, (planes, rows, columns) in zip(opacities.lesions, boxes, strict=True):
            box = (rows, columns)
            if not planes.start <= k < planes.stop or not truth[k][box].size:
                continue
            frayed = _paint(hu[k][box], reach[box], lesion, axes, k, box, noise)
            truth[k][box][(frayed < 0) & air[box]] = lesion.label
    return truth


def _paint(
    plane: Array,
    reach: Array,
    lesion: Opacity,
    axes: Axes,
    k: int,
    box: tuple[slice, slice],
    noise: _Noise,
) -> Array:
    """Paint one lesion on a part of slice k; its frayed distance (y, x), mm."""
    coords = (axes.x[None, box[1]], axes.y[box[0], None], axes.z[k])
    lobes, fringe, grain = (field.plane(k, *box) for field in (noise.lobes, noise.fringe, noise.grain))
    sdf = lesion.sdf(coords) + np.float32(lesion.fray_mm) * (_LONG * lobes + _SHORT * fringe)
    if lesion.label == CONSOLIDATION:
        level = lesion.hu + 14.0 * grain - 260.0 * np.maximum(fringe - 1.1, 0.0)  # rests of air
    else:
        level = lesion.hu + 45.0 * lobes + 35.0 * fringe + 30.0 * grain
        if lesion.paving > 0:  # thickened septa between lobules: the noise's level sets, "crazy paving"
            level += 150.0 * lesion.paving * np.exp(-((noise.septa.plane(k, *box) / 0.22) ** 2))
        level = np.clip(level, -780.0, -300.0)
    denser = np.maximum(level - plane, 0.0)  # no lesion takes away what another has filled
    plane += denser * coverage(sdf, lesion.edge_mm) * reach
    return sdf


class _Noise(NamedTuple):
    """Smooth random fields on the grid: outline (lobes, fringe), texture (grain), lobules (septa)."""

    lobes: CoarseField
    fringe: CoarseField
    grain: CoarseField
    septa: CoarseField

    @classmethod
    def draw(cls, seed: int, axes: Axes, chest: Chest) -> _Noise:
        rng = np.random.default_rng(seed)
        low, high = LOW * chest.scale, HIGH * chest.scale
        steps_mm = (15.0, 5.0, 2.4, 9.0)
        fields = [lattice_noise(own, low, high, mm) for own, mm in zip(rng.spawn(4), steps_mm, strict=True)]
        return cls(*(field.bind(axes) for field in fields))


def opacity_facts(opacities: Opacities, truth: Array, voxel_mm3: float) -> dict[str, Any]:
    """What a study would want to know: pattern, number of foci, volumes as drawn and share of the lungs."""
    counts = np.bincount(truth.ravel(), minlength=HEALTHY_LUNG + 1)
    lungs = max(1, int(counts[1:].sum()))
    return {
        "pattern": opacities.pattern,
        "severity": opacities.severity,
        "foci": len(opacities.lesions),
        "ground_glass_ml": round(float(counts[GROUND_GLASS]) * voxel_mm3 / 1000.0, 1),
        "consolidation_ml": round(float(counts[CONSOLIDATION]) * voxel_mm3 / 1000.0, 1),
        "lung_ml": round(lungs * voxel_mm3 / 1000.0, 1),
        "involved_share": round(float(counts[1:3].sum()) / lungs, 4),
    }
