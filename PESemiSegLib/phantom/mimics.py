"""Owns what resembles a clot and is none: nodes, mucus plugs, flow artefacts, consolidations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.emboli import Clot, downstream
from PESemiSegLib.phantom.heart import Blob
from PESemiSegLib.phantom.lungs import Chest
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array
from PESemiSegLib.phantom.trees import Tree
from PESemiSegLib.phantom.vessels import Vessels

# Mediastinal stations, atlas mm: right and left paratracheal, aortopulmonary, prevascular, subcarinal.
_STATIONS = [(-17, 2, 22), (15, 20, 14), (24, 0, 8), (8, -34, 24), (3, 24, -24), (-14, -4, 40)]


@dataclass(frozen=True)
class Patch:
    """Airless lung: a soft ball (mm) of the given HU, clipped to the lung."""

    centre: Array
    radius: float
    hu: float


@dataclass(frozen=True)
class FlowArtefact:
    """A fuzzy spot (mm) in an artery where blood mixed badly: the share of contrast that is missing."""

    centre: Array
    radius: float
    loss: float


@dataclass(frozen=True)
class Mimicry:
    """The look-alikes of one patient."""

    nodes: tuple[Blob, ...]
    node_hu: tuple[float, ...]
    plugs: dict[int, float]  # airway node -> HU of the mucus that fills it
    flows: tuple[FlowArtefact, ...]
    patches: tuple[Patch, ...]


def build_mimics(
    patient: PatientParameters, chest: Chest, vessels: Vessels, clots: list[Clot], rng: np.random.Generator
) -> Mimicry:
    nodes_rng, plug_rng, flow_rng, patch_rng = rng.spawn(4)
    nodes = tuple(_node(patient, vessels.arteries, nodes_rng) for _ in range(patient.mimics.nodes))
    return Mimicry(
        nodes,
        tuple(float(nodes_rng.uniform(40.0, 60.0)) for _ in nodes),
        _plugs(patient, vessels.airways, plug_rng),
        _flows(patient, vessels.arteries, clots, flow_rng),
        (*_consolidations(patient, chest, patch_rng), *_infarcts(vessels.arteries, clots, chest, patch_rng)),
    )


def _node(patient: PatientParameters, arteries: Tree, rng: np.random.Generator) -> Blob:
    """A lymph node: half of them at the stations of the mediastinum, half touching hilar arteries."""
    short = float(np.clip(rng.gamma(4.0, 0.9), 2.0, 8.0))
    radii = short * np.array([1.0, rng.uniform(1.0, 1.4), rng.uniform(1.2, 1.9)])
    frame, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    if rng.random() < 0.4:
        centre = np.array(_STATIONS[rng.integers(len(_STATIONS))]) * patient.size + rng.normal(0, 2.0, 3)
        return Blob("node", centre, radii, frame)
    hilar = np.flatnonzero((arteries.orders >= 1) & (arteries.orders <= 3) & (arteries.radii > 2.0))
    at = int(rng.choice(hilar))
    along = arteries.points[at] - arteries.points[arteries.parents[at]]
    along /= np.linalg.norm(along) + 1e-9
    aside = rng.standard_normal(3)
    aside -= (aside @ along) * along
    aside /= np.linalg.norm(aside)
    away = arteries.radii[at] + short * rng.uniform(0.7, 1.0)
    return Blob("node", arteries.points[at] + aside * away, radii, frame)


def _plugs(patient: PatientParameters, airways: Tree, rng: np.random.Generator) -> dict[int, float]:
    """Mucus in stretches of segmental and smaller bronchi."""
    plugs: dict[int, float] = {}
    small = np.flatnonzero((airways.radii < 2.2) & (airways.parents >= 0))
    for _ in range(patient.mimics.mucus_plugs if len(small) else 0):
        start, hu = int(rng.choice(small)), float(rng.uniform(10.0, 40.0))
        reach = rng.uniform(8.0, 30.0)
        for node in downstream(airways, start):
            if np.linalg.norm(airways.points[node] - airways.points[start]) < reach:
                plugs[int(node)] = hu
    return plugs


def _flows(
    patient: PatientParameters, arteries: Tree, clots: list[Clot], rng: np.random.Generator
) -> tuple[FlowArtefact, ...]:
    """Spots in arteries of order 1 to 5 that keep more contrast than a clot would, away from the clots."""
    free = (arteries.orders >= 1) & (arteries.orders <= 5) & (arteries.radii > 1.2)
    for clot in clots:
        free[clot.nodes] = False
    spots = []
    for _ in range(patient.mimics.flow_artefacts):
        at = int(rng.choice(np.flatnonzero(free)))
        spot = arteries.points[at] + rng.normal(0.0, 0.35, 3) * arteries.radii[at]
        spots.append(
            FlowArtefact(
                spot, float(rng.uniform(0.6, 1.3) * arteries.radii[at]), float(rng.uniform(0.25, 0.55))
            )
        )
    return tuple(spots)


def _consolidations(patient: PatientParameters, chest: Chest, rng: np.random.Generator) -> list[Patch]:
    """Dependent atelectasis and pneumonia, mostly at the back and the bases."""
    patches: list[Patch] = []
    for _ in range(patient.mimics.consolidations):
        for _ in range(200):
            low, high = np.array([-125.0, 20.0, -150.0]), np.array([125.0, 105.0, 30.0])
            place = rng.uniform(low, high) * chest.scale
            if -12.0 < float(chest.lung.at(place[None])[0]) < -1.0:
                break
        patches.append(Patch(place, float(rng.uniform(8.0, 26.0)), float(rng.uniform(-150.0, 60.0))))
    return patches


def _infarcts(arteries: Tree, clots: list[Clot], chest: Chest, rng: np.random.Generator) -> list[Patch]:
    """Pleural wedges behind some occluding clots."""
    patches = []
    for clot in clots:
        if not clot.occludes or clot.order < 3 or rng.random() > 0.35:
            continue
        below = downstream(arteries, int(clot.nodes[-1]))
        depth = chest.lung.at(arteries.points[below])
        tip = arteries.points[below[int(np.argmax(depth))]]
        patches.append(Patch(tip, float(rng.uniform(7.0, 18.0)), float(rng.uniform(-250.0, 45.0))))
    return patches
