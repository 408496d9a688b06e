"""Owns the contrast agent: HU of each blood pool and of every vessel node, and its bad mixing."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.phantom.fields import WaveNoise
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array
from PESemiSegLib.phantom.trees import Tree

PLAIN_BLOOD_HU = 41.0


def pool_hu(patient: PatientParameters, pool: str) -> float:
    """Mean HU of a named blood pool or tissue of the mediastinum."""
    b = patient.bolus
    enhanced = {
        "ra": 0.55 * b.pa_hu + 0.45 * min(b.svc_hu, 1.4 * b.pa_hu),
        "rv": b.pa_hu * 1.02,
        "svc": b.svc_hu,
        "azygos": 70.0,
        "ivc": b.ivc_hu,
        "la": b.pa_hu + b.vein_lag_hu,
        "lv": b.pa_hu + b.vein_lag_hu + 0.4 * b.aorta_lag_hu,
        "aorta": b.pa_hu + b.vein_lag_hu + b.aorta_lag_hu,
        "myocardium": 95.0,
        "oesophagus": 45.0,
    }
    plain = {"myocardium": 48.0, "oesophagus": 38.0}
    if patient.contrast:
        return max(60.0, enhanced[pool])
    return plain.get(pool, PLAIN_BLOOD_HU)


def artery_hu(patient: PatientParameters, tree: Tree, distal_loss: Array) -> Array:
    """HU of the blood at each node: falls with the order, and behind occluding clots (`distal_loss` 0..1)."""
    if not patient.contrast:
        return np.full(len(tree), PLAIN_BLOOD_HU)
    b = patient.bolus
    hu = b.pa_hu + b.order_drop_hu * np.minimum(tree.orders, 8)
    return np.maximum(hu - distal_loss * 0.6 * (hu - 60.0), 50.0)


def vein_hu(patient: PatientParameters, tree: Tree, rng: np.random.Generator) -> Array:
    """HU of the veins: late, and partly unopacified branch by branch."""
    dark = np.zeros(len(tree))
    heads = np.flatnonzero((tree.orders == 3) & (tree.orders[tree.parents] == 2))
    chosen = heads[rng.random(len(heads)) < patient.bolus.unopacified_veins]
    level = rng.uniform(0.5, 1.0, len(tree))
    dark[chosen] = level[chosen]
    parent = tree.parents
    for i in range(len(tree)):
        if parent[i] >= 0:
            dark[i] = max(dark[i], dark[parent[i]])
    if not patient.contrast:
        return np.full(len(tree), PLAIN_BLOOD_HU)
    bright = patient.bolus.pa_hu + patient.bolus.vein_lag_hu
    return bright + dark * (55.0 - bright)


def mixing_noise(patient: PatientParameters, rng: np.random.Generator) -> tuple[WaveNoise, float]:
    """Swirls of unmixed blood in the vena cava: noise, and its amplitude as a share of the HU."""
    return WaveNoise.draw(rng, 22.0), 0.28 * patient.bolus.mixing * float(patient.contrast)
