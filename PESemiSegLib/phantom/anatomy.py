"""Owns the grid-free patient: builds chest, heart, vessels and skeleton from the drawn parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from PESemiSegLib.phantom.bones import Skeleton, build_skeleton
from PESemiSegLib.phantom.emboli import Clot, distal_loss, place_emboli
from PESemiSegLib.phantom.heart import Heart, Tube, build_heart, mediastinum_field, soft_column
from PESemiSegLib.phantom.hilum import stem_tubes
from PESemiSegLib.phantom.lungs import Chest, atlas_coords, build_chest
from PESemiSegLib.phantom.mimics import Mimicry, build_mimics
from PESemiSegLib.phantom.opacities import Opacities, draw_opacities
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.vessels import Vessels, grow_vessels


@dataclass
class Anatomy:
    """A patient in mm, before any voxel."""

    patient: PatientParameters
    chest: Chest
    heart: Heart
    column: tuple[Tube, ...]
    vessels: Vessels
    skeleton: Skeleton
    clots: list[Clot]
    mimicry: Mimicry
    distal_loss: np.ndarray  # per artery node, 0..1: contrast missing behind occluding clots
    opacities: Opacities | None = None


def organ_generator(patient: PatientParameters, organ: str) -> np.random.Generator:
    """Random numbers of one organ: independent of the grid, of contrast and of what other organs drew."""
    return np.random.default_rng(np.random.SeedSequence([patient.seed, *organ.encode()]))


def build_anatomy(patient: PatientParameters) -> Anatomy:
    """Everything of a patient that does not depend on voxels or on contrast."""
    strain = _strain(patient)
    heart = build_heart(patient, organ_generator(patient, "heart"), strain)
    column = soft_column(patient)
    tubes = (*heart.tubes, *column, *stem_tubes(patient))
    field = mediastinum_field(atlas_coords(), patient, heart, tubes)
    chest = build_chest(patient, organ_generator(patient, "chest"), field)
    vessels = grow_vessels(patient, chest, organ_generator(patient, "vessels"))
    clots = place_emboli(vessels.arteries, patient.emboli, organ_generator(patient, "emboli"))
    loss = distal_loss(vessels.arteries, clots)
    skeleton = build_skeleton(patient, chest, organ_generator(patient, "bones"))
    mimicry = build_mimics(patient, chest, vessels, clots, organ_generator(patient, "mimics"))
    return Anatomy(patient, chest, heart, column, vessels, skeleton, clots, mimicry, loss)


def with_opacities(anatomy: Anatomy, pattern: str, rng: np.random.Generator) -> Anatomy:
    """The same patient with lesions in the lungs, and without other airless lung, which no map would hold."""
    mimicry = replace(anatomy.mimicry, patches=())
    return replace(anatomy, mimicry=mimicry, opacities=draw_opacities(pattern, anatomy.chest, rng))


def _strain(patient: PatientParameters) -> float:
    """Right ventricular strain (0..1) of the drawn clots: large and occluding ones count most."""
    weight = {"central": 0.22, "lobar": 0.14, "segmental": 0.05, "subsegmental": 0.015}
    load = sum(weight[e.level] * (1.5 if e.kind in ("occlusive", "saddle") else 1.0) for e in patient.emboli)
    return float(np.clip(load - 0.15, 0.0, 1.0))
