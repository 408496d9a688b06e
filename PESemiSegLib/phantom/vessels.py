"""Owns the pulmonary vessels and airways of one patient: hilar stems after the anatomy books, twigs by colonisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import Array, CoarseField, WaveNoise, curve
from PESemiSegLib.phantom.heart import Tube
from PESemiSegLib.phantom.lungs import LOBES, SEGMENTS, Chest
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.trees import InsideTest, Tree, TreeBuilder, branching_orders, murray_radii

CENTRAL = 100  # tag of stems before the segments
SPACING_MM = 12.0  # between attractors

# name: (parent, points in atlas mm, radii relative to `scale`, what scales them)
Stem = tuple[str, list[tuple[float, float, float]], list[float], str]
ARTERY_STEMS: dict[str, Stem] = {
    "trunk": (
        "",
        [(19, -45, -38), (20, -36, -27), (20, -25, -16), (17, -17, -13)],
        [0.98, 1, 1, 0.97],
        "mpa",
    ),
    "rpa": ("trunk", [(5, -7, -16), (-12, 0, -20), (-30, 3, -22), (-43, 4, -24)], [1, 1, 0.98, 0.82], "rpa"),
    "truncus": ("rpa:-22,2,-21", [(-36, -2, -13), (-46, -1, -3)], [0.56, 0.5], "rpa"),
    "interlobar R": ("rpa", [(-52, 9, -34), (-56, 16, -47)], [0.74, 0.66], "rpa"),
    "basal R": ("interlobar R", [(-59, 22, -60), (-61, 27, -70)], [0.56, 0.5], "rpa"),
    "lpa": (
        "trunk",
        [(27, -7, -6), (36, 7, -3), (44, 20, -8), (49, 26, -20)],
        [1, 1, 0.95, 0.84],
        "lpa",
    ),
    "interlobar L": ("lpa", [(52, 28, -34), (55, 28, -48)], [0.74, 0.64], "lpa"),
    "lingula": ("lpa:50,26,-28", [(60, 15, -33), (71, 4, -37)], [0.42, 0.38], "lpa"),
    "basal L": ("interlobar L", [(58, 29, -61), (61, 31, -71)], [0.56, 0.5], "lpa"),
}
ARTERY_SEGMENTS = {  # segment: (stem, place where it leaves)
    "RS1": ("truncus", None),
    "RS2": ("truncus", None),
    "RS3": ("truncus", (-38, -2, -10)),
    "RS4": ("interlobar R", (-54, 12, -39)),
    "RS5": ("interlobar R", (-53, 10, -36)),
    "RS6": ("interlobar R", (-56, 15, -45)),
    "RS7": ("basal R", (-59, 22, -60)),
    "RS8": ("basal R", (-60, 24, -65)),
    "RS9": ("basal R", None),
    "RS10": ("basal R", None),
    "LS1+2": ("lpa", (37, 9, -3)),
    "LS3": ("lpa", (32, 1, -4)),
    "LS4": ("lingula", None),
    "LS5": ("lingula", None),
    "LS6": ("lpa", (49, 26, -20)),
    "LS7+8": ("basal L", (59, 29, -63)),
    "LS9": ("basal L", None),
    "LS10": ("basal L", None),
}
VEIN_STEMS: dict[str, Stem] = {
    "RSPV": ("", [(-18, 6, -43), (-32, -4, -39), (-46, -11, -35)], [8, 7.5, 6.5], "mm"),
    "RUL": ("RSPV", [(-56, -14, -24), (-62, -13, -12)], [5.5, 5], "mm"),
    "RML": ("RSPV", [(-56, -18, -44)], [4], "mm"),
    "RLL": ("", [(-18, 16, -57), (-36, 23, -60), (-48, 29, -65), (-58, 36, -72)], [7.5, 7, 6.5, 5.5], "mm"),
    "LUL": ("", [(30, 4, -43), (42, -6, -34), (52, -12, -22), (60, -12, -8)], [8, 7, 6, 5], "mm"),
    "LLL": ("", [(28, 17, -57), (42, 25, -59), (52, 31, -66), (60, 38, -74)], [7.5, 7, 6, 5.5], "mm"),
}
AIRWAY_STEMS: dict[str, Stem] = {
    "trachea": (
        "",
        [(1, 18, 135), (1, 20, 90), (0, 18, 45), (0, 15, 10), (0, 15, 0)],
        [8.8, 8.8, 8.8, 8.8, 8],
        "mm",
    ),
    "right main": ("trachea", [(-12, 16, -9), (-26, 17, -16)], [7, 6.6], "mm"),
    "B-RUL": ("right main", [(-38, 16, -13), (-45, 15, -10)], [4.8, 4.2], "mm"),
    "intermedius": ("right main", [(-34, 18, -27), (-43, 19, -42)], [5.6, 5.2], "mm"),
    "B-RML": ("intermedius", [(-50, 8, -48), (-56, -2, -52)], [3.4, 3], "mm"),
    "B-RLL": ("intermedius", [(-48, 24, -56), (-52, 29, -69)], [4.6, 3.8], "mm"),
    "left main": ("trachea", [(14, 16, -11), (30, 16, -21), (40, 16, -26)], [6.4, 6, 5.8], "mm"),
    "B-LUL": ("left main", [(49, 9, -24), (57, 4, -20)], [4.8, 4], "mm"),
    "B-LLL": ("left main", [(45, 22, -38), (49, 26, -54), (53, 31, -68)], [4.8, 4.4, 3.8], "mm"),
}
AIRWAY_OF = {"RUL": "B-RUL", "RML": "B-RML", "RLL": "B-RLL", "LUL": "B-LUL", "LLL": "B-LLL"}


@dataclass
class Vessels:
    """Arteries, veins and airways (radii of the lumen), tags: segments for arteries and airways, lobes for veins."""

    arteries: Tree
    veins: Tree
    airways: Tree


def stem_tubes(patient: PatientParameters) -> tuple[Tube, ...]:
    """The stems as tubes, for the mediastinum to enclose."""
    tubes = []
    for stems in (ARTERY_STEMS, VEIN_STEMS, AIRWAY_STEMS):
        builder = TreeBuilder()
        _plant(builder, stems, patient, {})
        tubes.append(Tube("stem", np.array(builder.points), np.array(builder.radii)))
    return tuple(tubes)


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
        tree.points = np.where(stays[:, None], tree.points, moved)
    return Vessels(arteries, veins, airways)


class _Inside(InsideTest):
    """Nodes keep 2 mm from the pleura, or come from the hilum."""

    def __init__(self, lung: CoarseField) -> None:
        self.lung = lung

    def out(self, points: Array) -> Array:
        return self.lung.at(points) > -1.0

    def __call__(self, points: Array, sources: Array) -> Array:
        depth = self.lung.at(points)
        return (depth < -2.0) | (depth < self.lung.at(sources) - 0.4)


def _unit(unit: str, patient: PatientParameters) -> float:
    return {
        "mpa": patient.mpa_diameter_mm / 2,
        "rpa": patient.rpa_diameter_mm / 2,
        "lpa": patient.lpa_diameter_mm / 2,
        "mm": float(np.mean(patient.size)),
    }[unit]


def _plant(
    builder: TreeBuilder, stems: dict[str, Stem], patient: PatientParameters, tag_of: dict[str, int]
) -> None:
    """Lay the named stems, each joined to the end of its parent or the node nearest to 'parent:x,y,z'."""
    scale = np.array(patient.size)
    for name, (origin, points, radii, unit) in stems.items():
        table = np.column_stack([np.array(points) * scale, np.array(radii) * _unit(unit, patient)])
        parent = -1
        if origin:
            trunk, _, place = origin.partition(":")
            parent = builder.ends[trunk]
            if place:
                parent = builder.nearest(trunk, np.array([float(v) for v in place.split(",")]) * scale)
            table = np.vstack([[*builder.points[parent], table[0, 3]], table])
        fine = curve(table, 3.0)[1 if origin else 0 :]
        builder.stem(name, fine[:, :3], fine[:, 3], tag_of.get(name, CENTRAL), parent)


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
    _plant(builder, ARTERY_STEMS, patient, {})
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
    _plant(builder, VEIN_STEMS, patient, {name: LOBES.index(name) for name in LOBES})
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
    _plant(builder, AIRWAY_STEMS, patient, {})
    for tag, (lobe, _) in enumerate(SEGMENTS.values()):
        nodes = np.flatnonzero((arteries.tags == tag) & (arteries.radii > 1.15))
        if len(nodes) < 4:
            continue
        axis = arteries.points[nodes[-1]] - arteries.points[nodes[0]]
        aside = np.cross(axis, [0.2, 0.3, 1.0])
        aside *= -np.sign(aside[1] + 1e-9) / np.linalg.norm(aside)
        parent = builder.ends[AIRWAY_OF[lobe]]
        root, twin = builder.points[parent], {}
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
