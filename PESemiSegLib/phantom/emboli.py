"""Owns the clots: their places on the arterial tree, their shapes, and what they cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from PESemiSegLib.phantom.fields import WaveNoise
from PESemiSegLib.phantom.hilum import CENTRAL
from PESemiSegLib.phantom.lungs import SEGMENTS
from PESemiSegLib.phantom.parameters import Embolus
from PESemiSegLib.phantom.shapes import Array, curve
from PESemiSegLib.phantom.trees import Tree

SAMPLE_MM = 0.5


@dataclass
class Clot:
    """An embolus laid on the tree: a centreline with the lumen radius, and its own frame."""

    embolus: Embolus
    lesion: int
    line: Array  # (n, 3) mm, every SAMPLE_MM
    lumen: Array  # (n,) mm
    side: Array  # unit vector towards which an eccentric clot leans
    nodes: Array  # tree nodes it covers
    order: int
    territory: tuple[int, ...]  # segment tags downstream
    noise: WaveNoise

    @property
    def bounds(self) -> tuple[Array, Array]:
        reach = float(self.lumen.max()) + 1.5
        return self.line.min(0) - reach, self.line.max(0) + reach

    def hu(self, contrast: bool) -> float:
        return self.embolus.hu if contrast else self.embolus.plain_hu

    @property
    def occludes(self) -> bool:
        return self.embolus.kind == "occlusive"

    def sdf(self, points: Array) -> Array:
        """Distance (mm, negative inside) of (n, 3) points to the exact clot."""
        from scipy.spatial import cKDTree

        reach = float(self.lumen.max()) + 1.5
        distance, index = cKDTree(self.line).query(points, distance_upper_bound=reach)
        out = np.full(len(points), reach)
        near = np.flatnonzero(np.isfinite(distance))
        if len(near):
            out[near] = self._local(points[near], distance[near], index[near])
        return out

    def visible_sdf(self, points: Array, sdf: Array) -> Array:
        """The same edge, roughened as flowing blood leaves it."""
        return sdf + self.embolus.fuzz_mm * self.noise(points)[:, 0]

    def _local(self, points: Array, d: Array, index: Array) -> Array:
        s = index / max(len(self.line) - 1, 1)
        r = self.lumen[index]
        offset = points - self.line[index]
        lean = offset @ self.side
        e = self.embolus
        taper = np.sqrt(np.clip(1.0 - np.abs(2.0 * s - 1.0) ** 6, 0.0, 1.0))
        wall = d - r
        if e.kind in ("polo", "saddle"):
            shift = 0.12 * r
            body = np.sqrt(np.maximum(d * d - 2 * shift * lean + shift * shift, 0.0)) - e.ratio * r * taper
        elif e.kind == "mural":
            shift = (1.12 - e.ratio) * r
            body = np.sqrt(np.maximum(d * d - 2 * shift * lean + shift * shift, 0.0)) - e.ratio * r * taper
        elif e.kind == "chronic":
            hollow = 0.95 * r / (0.6 + 0.4 * taper)
            shift = -0.32 * r
            band = hollow - np.sqrt(np.maximum(d * d - 2 * shift * lean + shift * shift, 0.0))
            across = offset @ np.roll(self.side, 1)
            web = np.abs(across) - 0.7
            body = np.minimum(band, web) if e.ratio > 0.68 else band
        else:
            body = wall
        length = (len(self.line) - 1) * SAMPLE_MM
        beyond = np.abs(s - 0.5) * length - 0.5 * length
        cap = beyond + 0.25 * d * d / np.maximum(r, 0.5)  # convex towards the flow
        return np.maximum(np.maximum(body, wall), cap)


def place_emboli(tree: Tree, emboli: tuple[Embolus, ...], rng: np.random.Generator) -> list[Clot]:
    """A free stretch of artery for each embolus, large ones first; one that finds no room is left out."""
    free = np.ones(len(tree), bool)
    clots: list[Clot] = []
    order = sorted(range(len(emboli)), key=lambda i: ("saddle", "central", "lobar").index(_rank(emboli[i])))
    for i in order:
        draw = np.random.default_rng(rng.integers(2**63))
        clot = (
            _saddle(tree, emboli[i], draw)
            if emboli[i].kind == "saddle"
            else _place(tree, emboli[i], free, draw)
        )
        if clot is None:
            continue
        clot.lesion = len(clots) + 1
        clots.append(clot)
        free[clot.nodes] = False
        free[np.isin(tree.parents, clot.nodes)] = False
        free[tree.parents[clot.nodes]] = False
    return clots


def _rank(e: Embolus) -> str:
    return "saddle" if e.kind == "saddle" else e.level if e.level == "central" else "lobar"


def _candidates(tree: Tree, level: str, free: Array) -> Array:
    orders = {"central": (1, 1), "lobar": (2, 2), "segmental": (3, 3), "subsegmental": (4, 5)}[level]
    wide = {"central": 4.0, "lobar": 3.0, "segmental": 1.7, "subsegmental": 1.0}[level]
    return np.flatnonzero(
        (tree.orders >= orders[0]) & (tree.orders <= orders[1]) & (tree.radii > wide) & free
    )


def _place(tree: Tree, embolus: Embolus, free: Array, rng: np.random.Generator) -> Clot | None:
    seeds = _candidates(tree, embolus.level, free)
    for _ in range(20):
        if not len(seeds):
            return None
        nodes = _stretch(tree, int(rng.choice(seeds)), embolus.length_mm, rng, rng.uniform(0.2, 0.8))
        length = np.linalg.norm(np.diff(tree.points[nodes], axis=0), axis=1).sum()
        if length > 0.5 * embolus.length_mm and free[nodes].all():
            return _lay(tree, embolus, nodes, rng)
    return None


def _stretch(
    tree: Tree, start: int, length_mm: float, rng: np.random.Generator, upstream: float = 0.0
) -> Array:
    """Nodes along the flow through `start`: a share of the length against it, then with it.

    At forks the wider branch is taken (now and then the other one); much thinner branches end the stretch.
    """
    nodes, gone = [start], 0.0
    while gone < upstream * length_mm:
        parent = int(tree.parents[nodes[0]])
        if parent < 0 or tree.orders[parent] < tree.orders[start]:
            break
        gone += float(np.linalg.norm(tree.points[parent] - tree.points[nodes[0]]))
        nodes.insert(0, parent)
    while gone < length_mm:
        kids = np.flatnonzero(tree.parents == nodes[-1])
        if not len(kids):
            break
        kids = kids[np.argsort(-tree.radii[kids])]
        nxt = int(kids[1] if len(kids) > 1 and rng.random() < 0.25 else kids[0])
        if tree.radii[nxt] < 0.5 * tree.radii[start]:
            break
        gone += float(np.linalg.norm(tree.points[nxt] - tree.points[nodes[-1]]))
        nodes.append(nxt)
    return np.array(nodes)


def _lay(tree: Tree, embolus: Embolus, nodes: Array, rng: np.random.Generator) -> Clot:
    tree.radii[nodes] *= embolus.wall_scale
    table = np.column_stack([tree.points[nodes], tree.radii[nodes]])
    length = np.linalg.norm(np.diff(tree.points[nodes], axis=0), axis=1).sum()
    fine = _polyline(table)[: max(6, int(min(length, embolus.length_mm) / SAMPLE_MM))]
    return _clot(tree, embolus, fine, nodes, rng)


def _polyline(table: Array) -> Array:
    """Straight resampling every SAMPLE_MM, so that the centreline is that of the drawn cones."""
    steps = np.linalg.norm(np.diff(table[:, :3], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.arange(0.0, along[-1], SAMPLE_MM)
    return np.stack([np.interp(places, along, column) for column in table.T], 1)


def _saddle(tree: Tree, embolus: Embolus, rng: np.random.Generator) -> Clot:
    """A strand over the bifurcation, its two ends hanging into the right and left pulmonary artery."""
    fork = int(np.flatnonzero(tree.orders == 0)[-1])
    arms = []
    for child in np.flatnonzero(tree.parents == fork):
        nodes = _stretch(tree, int(child), rng.uniform(14.0, 30.0), rng)
        arms.append(nodes)
    arms = arms[:2]
    nodes = np.concatenate([arms[0][::-1], [fork], arms[1]])
    table = np.column_stack([tree.points[nodes], tree.radii[nodes]])
    table = curve(table[:: max(1, len(table) // 7)], 2.0)
    fine = _polyline(table)
    fine[:, 2] += 1.5 * np.sin(np.linspace(0, 9, len(fine)))
    thin = Embolus(**{**embolus.__dict__, "ratio": min(embolus.ratio, 0.55)})
    return _clot(tree, thin, fine, nodes, rng)


def _clot(tree: Tree, embolus: Embolus, fine: Array, nodes: Array, rng: np.random.Generator) -> Clot:
    axis = fine[-1, :3] - fine[0, :3]
    axis /= np.linalg.norm(axis) + 1e-9
    side = rng.standard_normal(3)
    side -= (side @ axis) * axis
    side /= np.linalg.norm(side)
    start = int(nodes[np.argmin(tree.orders[nodes])])
    below = downstream(tree, start)
    tags = tuple(sorted({int(t) for t in tree.tags[below] if t != CENTRAL}))
    noise = WaveNoise.draw(rng, 4.0)
    return Clot(embolus, 0, fine[:, :3], fine[:, 3], side, nodes, int(tree.orders[start]), tags, noise)


def downstream(tree: Tree, node: int) -> Array:
    """Indices of `node` and everything below it."""
    flag = np.zeros(len(tree), bool)
    flag[node] = True
    for i in range(node + 1, len(tree)):
        p = tree.parents[i]
        flag[i] = flag[i] or (p >= 0 and flag[p])
    return np.flatnonzero(flag)


def distal_loss(tree: Tree, clots: list[Clot]) -> Array:
    """0..1 per node: how much contrast is missing behind occluding clots."""
    loss = np.zeros(len(tree))
    for clot in clots:
        if clot.occludes:
            loss[downstream(tree, int(clot.nodes[-1]))] = 1.0
    return loss


def burden_index(clots: list[Clot]) -> float:
    """Obstruction (0..1) after Qanadli 2001: 1 for each segment partly, 2 for each fully cut off."""
    score = np.zeros(len(SEGMENTS))
    for clot in clots:
        weight = 2.0 if clot.occludes else 1.0
        if clot.order > 3:
            weight *= 0.5
        for tag in clot.territory:
            score[tag] = max(score[tag], weight)
    return float(score.sum() / (2.0 * len(SEGMENTS)))


LEVEL_OF_ORDER = {0: "central", 1: "central", 2: "lobar", 3: "segmental"}


def clot_facts(clot: Clot, contrast: bool) -> dict[str, Any]:
    """What is known of a clot without voxels."""
    return {
        "id": clot.lesion,
        "kind": clot.embolus.kind,
        "level": LEVEL_OF_ORDER.get(clot.order, "subsegmental"),
        "order": clot.order,
        "hu": clot.hu(contrast),
        "length_mm": round((len(clot.line) - 1) * SAMPLE_MM, 1),
        "vessel_diameter_mm": round(2 * float(np.median(clot.lumen)), 2),
        "occluding": clot.occludes,
    }
