"""Owns the drawing of an anatomy on a grid: ideal HU and the exact truth (Scene)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from PESemiSegLib.phantom import bolus
from PESemiSegLib.phantom.anatomy import Anatomy, build_anatomy, organ_generator
from PESemiSegLib.phantom.bones import paint_skeleton
from PESemiSegLib.phantom.emboli import burden_index, clot_facts
from PESemiSegLib.phantom.fields import Axes
from PESemiSegLib.phantom.hilum import CENTRAL
from PESemiSegLib.phantom.opacity_painting import opacity_facts, paint_opacities
from PESemiSegLib.phantom.painting import (
    aorta_lumen,
    paint_airway_lumen,
    paint_airway_walls,
    paint_arms,
    paint_arteries,
    paint_clots,
    paint_heart,
    paint_veins,
)
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.raster import Canvas
from PESemiSegLib.phantom.shapes import Array
from PESemiSegLib.phantom.tissue import paint_background
from PESemiSegLib.phantom.trees import branching_angles_deg
from PESemiSegLib.phantom.vessels import segment_roots
from PESemiSegLib.volumes.grid import Grid


@dataclass
class Scene:
    """A patient on a grid, before any scanner. All arrays are (z, y, x)."""

    hu: Array  # float32, noiseless
    grid: Grid
    clot_sdf_mm: Array  # float16, negative inside clot, painting.FAR_MM elsewhere
    clot: Array  # uint8, exact
    artery: Array  # uint8, lumen including clots
    lesions: Array  # int16 ids of the clots, 0 elsewhere
    aorta: Array  # uint8, lumen without its branches
    facts: dict[str, Any] = field(default_factory=dict)
    opacities: Array | None = None  # uint8 map of opacities.py, of patients that may have some


def build_scene(patient: PatientParameters, grid: Grid, rng: np.random.Generator | None = None) -> Scene:
    """Draw a patient on an axis-aligned LPS grid.

    `rng` seeds only the texture of the tissues; without it the texture too follows from `patient.seed`.
    Raises InputError for a grid that is not axial LPS.
    """
    Axes.of(grid)  # a wrong grid is refused before the work
    return render(build_anatomy(patient), grid, rng)


def render(anatomy: Anatomy, grid: Grid, rng: np.random.Generator | None = None) -> Scene:
    """Draw an anatomy; see build_scene."""
    patient = anatomy.patient
    axes = Axes.of(grid)
    texture = rng if rng is not None else organ_generator(patient, "texture")
    hu = paint_background(axes, patient, anatomy.chest, anatomy.mimicry.patches, texture)
    lesions = anatomy.opacities
    opacities = None if lesions is None else paint_opacities(hu, axes, patient, anatomy.chest, lesions)
    canvas = Canvas(axes)
    if not patient.arms_up:
        paint_arms(hu, axes, canvas, patient)
    paint_skeleton(hu, axes, anatomy.skeleton)
    paint_heart(hu, axes, canvas, anatomy)
    paint_airway_walls(hu, canvas, anatomy)
    paint_veins(hu, canvas, anatomy)
    artery = paint_arteries(hu, canvas, anatomy)
    truth = paint_clots(hu, canvas, anatomy)
    canvas.clear()
    paint_airway_lumen(hu, canvas, anatomy, artery)
    scene = Scene(hu, grid, *truth[:2], artery, truth[2], aorta_lumen(canvas, anatomy, artery))
    scene.facts = _facts(anatomy, scene)
    if lesions is not None and opacities is not None:
        scene.opacities = opacities
        scene.facts["opacities"] = opacity_facts(lesions, opacities, grid.voxel_volume_mm3)
    return scene


def _facts(anatomy: Anatomy, scene: Scene) -> dict[str, Any]:
    """What a study would want to know of the patient, with volumes as drawn on this grid."""
    patient, tree = anatomy.patient, anatomy.vessels.arteries
    voxel_mm3 = scene.grid.voxel_volume_mm3
    counts = np.bincount(scene.lesions.ravel(), minlength=len(anatomy.clots) + 1)
    lesions = []
    for clot in anatomy.clots:
        middle = clot.line[len(clot.line) // 2]
        lesions.append(
            {
                **clot_facts(clot, patient.contrast),
                "volume_mm3": round(float(counts[clot.lesion]) * voxel_mm3, 2),
                "centroid_lps_mm": [round(float(v), 1) for v in middle],
            }
        )
    segmental = 2.0 * tree.radii[segment_roots(tree)]
    forks = np.flatnonzero((tree.children_count() == 2) & (tree.tags != CENTRAL) & (tree.orders >= 3))
    angles = branching_angles_deg(tree, forks)
    return {
        "lesions": lesions,
        "contrast": patient.contrast,
        "pa_hu": patient.bolus.pa_hu if patient.contrast else bolus.PLAIN_BLOOD_HU,
        "mpa_diameter_mm": patient.mpa_diameter_mm,
        "rpa_diameter_mm": patient.rpa_diameter_mm,
        "lpa_diameter_mm": patient.lpa_diameter_mm,
        "segmental_diameters_mm": [round(float(v), 2) for v in segmental],
        "branching_angle_deg": {"mean": round(float(angles.mean()), 1), "sd": round(float(angles.std()), 1)},
        "murray_exponent": patient.murray_exponent,
        "burden_index": burden_index(anatomy.clots),
        "rv_lv_ratio": anatomy.heart.rv_lv_ratio,
    }
