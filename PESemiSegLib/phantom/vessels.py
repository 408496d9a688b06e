"""Owns the pulmonary vessels and airways of one patient, from the hilum to the twigs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import CoarseField, WaveNoise
from PESemiSegLib.phantom.hilum import (
    AIRWAY_OF,
    AIRWAY_STEMS,
    ARTERY_SEGMENTS,
    ARTERY_STEMS,
    CENTRAL,
    VEIN_STEMS,
    plant,
)
from PESemiSegLib.phantom.lungs import LOBES, SEGMENTS, Chest
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, curve
from PESemiSegLib.phantom.trees import InsideTest, Tree, TreeBuilder, branching_orders, murray_radii

SPACING_MM = 12.0  # between attractors


@dataclass
class Vessels:
    """Radii are of the lumen; tags are segments for arteries and airways, lobes for veins."""

    arteries: Tree
    veins: Tree
    airways: Tree


def grow_vessels(patient: PatientParameters, chest: Chest, rng: np.random.Generator) -> Vessels:
    """All trees of a patient; each draws from its own generator."""
    artery_rng, vein_rng, wave_rng = rng.spawn(3)
    inside = _Inside(chest.lung)
    arteries = _grow_arteries(patient, chest, artery_rng, inside)
    veins = _grow_veins(patient, chest, vein_rng, inside, arteries)
    airways = _accompany(patient, arteries)
    wave = WaveNoise.draw(wave_rng, 32.0, channels=3, waves=12)
    for tree in (arteries, veins, airways):
        fade = np.clip((np.abs(tree.points[:, :1]) - 40.0) / 30.0, 0.0, 1.0)
        moved = tree.points + patient.tortuosity_mm * fade * wave(tree.points)
        stays = inside.out(moved) & ~inside.out(tree.points)
        tree.points = _off_the_wall(np.where(stays[:, None], tree.points, moved), chest)
    return Vessels(arteries, veins, airways)


def _off_the_wall(points: Array, chest: Chest, gap_mm: float = 3.0) -> Array:
    """Push what came too near to the ribs or the diaphragm back into the chest."""
    axis = np.array([0.0, 10.0 * chest.scale[1]])
    for _ in range(3):
        excess = np.maximum(chest.cavity.at(points) + gap_mm, 0.0) * (points[:, 2] < 100.0 * chest.scale[2])
        inwards = axis - points[:, :2]
        inwards /= np.linalg.norm(inwards, axis=1, keepdims=True) + 1e-9
        points[:, :2] += 1.1 * excess[:, None] * inwards
        beside = np.abs(points[:, 0]) > 25.0 * chest.scale[0]
        points[:, 2] += 1.2 * np.maximum(gap_mm - chest.diaphragm.at(points), 0.0) * beside
    return points


class _Inside(InsideTest):
    """Nodes keep 2 mm from the pleura, or come from the hilum."""

    def __init__(self, lung: CoarseField) -> None:
        self.lung = lung

    def out(self, points: Array) -> Array:
        return self.lung.at(points) > -1.0

    def __call__(self, points: Array, sources: Array) -> Array:
        depth = self.lung.at(points)
        return (depth < -2.0) | (depth < self.lung.at(sources) - 0.4)


def _lattice(chest: Chest, spacing: float, depth_mm: float, rng: np.random.Generator) -> Array:
    """Jittered lattice points inside the lungs."""
    low = np.array([-135.0, -100.0, -185.0]) * chest.scale
    high = np.array([135.0, 115.0, 115.0]) * chest.scale
    lines = [np.arange(lo, hi, spacing) for lo, hi in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 3)
    points += rng.uniform(-0.45, 0.45, points.shape) * spacing
    return points[chest.lung.at(points) < -depth_mm]


def _territories(points: Array, chest: Chest) -> tuple[Array, Array]:
    """Segment index of each point, and how much farther (mm) the next segment's centre is."""
    lobes = chest.lobes_of(points)
    distance = np.full((len(points), len(SEGMENTS)), 1e3)
    for i, (lobe, place) in enumerate(SEGMENTS.values()):
        mine = lobes == LOBES.index(lobe)
        distance[mine, i] = np.linalg.norm(points[mine] - np.array(place) * chest.scale, axis=1)
    ranked = np.sort(distance, axis=1)
    return distance.argmin(1), ranked[:, 1] - ranked[:, 0]


def _grow_arteries(
    patient: PatientParameters, chest: Chest, rng: np.random.Generator, inside: _Inside
) -> Tree:
    builder = TreeBuilder()
    plant(builder, ARTERY_STEMS, patient, {})
    central = len(builder.points)
    attractors = _lattice(chest, SPACING_MM, 6.0, rng)
    tags, _ = _territories(attractors, chest)
    for tag, name in enumerate(SEGMENTS):
        trunk, place = ARTERY_SEGMENTS[name]
        parent = builder.ends[trunk]
        if place is not None:
            parent = builder.nearest(trunk, np.array(place) * chest.scale)
        start, heading = builder.points[parent], _heading(builder, parent)
        mine = attractors[tags == tag]
        if not len(mine):
            continue
        half_way = 0.5 * (start + mine.mean(0))
        end = mine[np.argmin(np.linalg.norm(mine - half_way, axis=1))]
        first = start + 0.3 * (0.4 * np.linalg.norm(end - start) * heading + (end - start))
        path = curve(np.array([start, first, end]), 4.0)[1:]
        builder.stem(name, path, np.zeros(len(path)), tag, parent)
    tree = builder.grow(attractors, tags, rng, patient.branch_angle_deg, inside)
    keep = np.arange(len(tree)) < central
    roots = segment_roots(tree)
    load = float(np.median(tree.leaf_weight()[roots]))
    leaf = patient.segmental_diameter_mm / 2 / load ** (1 / patient.murray_exponent)
    murray_radii(tree, patient.murray_exponent, float(np.clip(leaf, 0.45, 0.9)), keep)
    given = np.full(len(tree), -1)
    given[:central] = _central_orders(builder, central)
    given[roots] = 3
    tree.orders = branching_orders(tree, given)
    return tree


def segment_roots(tree: Tree) -> Array:
    """First node of each segmental artery."""
    tags, first = np.unique(tree.tags, return_index=True)
    return first[tags != CENTRAL]


def _heading(builder: TreeBuilder, node: int) -> Array:
    d = builder.points[node] - builder.points[builder.parents[node]]
    return d / (np.linalg.norm(d) + 1e-9)


def _central_orders(builder: TreeBuilder, central: int) -> Array:
    """0 the trunk, 1 right and left pulmonary artery, 2 lobar."""
    orders = np.full(central, 2)
    for name, order in (("lpa", 1), ("rpa", 1), ("trunk", 0)):
        node = builder.ends[name]
        while node >= 0:
            orders[node] = order
            node = builder.parents[node]
    return orders


def _grow_veins(
    patient: PatientParameters, chest: Chest, rng: np.random.Generator, inside: _Inside, arteries: Tree
) -> Tree:
    from scipy.spatial import cKDTree

    builder = TreeBuilder()
    plant(builder, VEIN_STEMS, patient, {name: LOBES.index(name) for name in LOBES})
    stems = len(builder.points)
    attractors = _lattice(chest, 0.9 * SPACING_MM, 6.0, rng)
    _, margin = _territories(attractors, chest)
    kept = rng.random(len(attractors)) < 0.3 + 0.7 * np.exp(-margin / 18.0)
    clear = cKDTree(arteries.points).query(attractors)[0] > 4.0
    attractors = attractors[kept & clear]
    tree = builder.grow(attractors, chest.lobes_of(attractors), rng, patient.branch_angle_deg, inside)
    murray_radii(tree, patient.murray_exponent, 0.62, np.arange(len(tree)) < stems)
    tree.orders = branching_orders(tree, np.where(np.arange(len(tree)) < stems, 1, -1))
    return tree


def _accompany(patient: PatientParameters, arteries: Tree) -> Tree:
    """Airways: stems to the lobes, then beside the arteries of each segment as far as CT shows them."""
    builder = TreeBuilder()
    plant(builder, AIRWAY_STEMS, patient, {})
    for tag, (lobe, _) in enumerate(SEGMENTS.values()):
        nodes = np.flatnonzero((arteries.tags == tag) & (arteries.radii > 1.15))
        if len(nodes) < 4:
            continue
        axis = arteries.points[nodes[-1]] - arteries.points[nodes[0]]
        aside = np.cross(axis, [0.2, 0.3, 1.0])
        aside *= -np.sign(aside[1] + 1e-9) / np.linalg.norm(aside)
        parent = builder.ends[AIRWAY_OF[lobe]]
        root = builder.points[parent]
        twin: dict[int, int] = {}  # artery node -> airway node
        for node in nodes[1:]:
            radius = 0.62 * arteries.radii[node]
            along = arteries.points[node] - arteries.points[arteries.parents[node]]
            across = aside - (aside @ along) * along / (along @ along + 1e-9)
            across /= np.linalg.norm(across) + 0.3
            place = arteries.points[node] + across * (arteries.radii[node] + 1.35 * radius + 0.6)
            above = twin.get(int(arteries.parents[node]))
            if above is None and twin:
                continue
            if above is None:
                bridge = curve(np.array([root, 0.5 * (root + place), place]), 3.0)[1:]
                builder.stem(f"B{tag}", bridge, np.linspace(2.8, radius, len(bridge)), tag, parent)
                twin[int(node)] = len(builder.points) - 1
                continue
            builder.stem("twig", place[None], np.array([radius]), tag, above)
            twin[int(node)] = len(builder.points) - 1
    n = len(builder.points)
    return Tree(
        np.array(builder.points),
        np.array(builder.parents),
        np.array(builder.tags),
        np.array(builder.radii),
        np.zeros(n, int),
    )
