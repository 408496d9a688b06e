"""Owns the branching trees: space colonisation of the lungs and Murray radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.shapes import Array

MIN_RADIUS_MM = 0.6
STEP_MM = 4.0
KILL_MM = 5.0


@dataclass
class Tree:
    """Nodes (n, 3) mm with parents (-1: root; always before the child), radii mm, tags and orders."""

    points: Array
    parents: Array
    tags: Array
    radii: Array
    orders: Array

    def __len__(self) -> int:
        return len(self.points)

    @property
    def edges(self) -> tuple[Array, Array]:
        """(parent, child) indices of every edge."""
        child = np.flatnonzero(self.parents >= 0)
        return self.parents[child], child

    def children_count(self) -> Array:
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self))

    def leaf_weight(self) -> Array:
        """Number of leaves below each node."""
        weight = (self.children_count() == 0).astype(float)
        for i in range(len(self) - 1, 0, -1):
            if self.parents[i] >= 0:
                weight[self.parents[i]] += weight[i]
        return weight

    def path_to_root(self, node: int) -> list[int]:
        path = [node]
        while self.parents[path[-1]] >= 0:
            path.append(int(self.parents[path[-1]]))
        return path


class InsideTest:
    """Callable that tells which (n, 3) points may carry a node that grows out of `sources`."""

    def __call__(self, points: Array, sources: Array) -> Array:
        raise NotImplementedError


class TreeBuilder:
    """Grows a tree: first named stems, given as curves, then twigs that colonise attractors."""

    def __init__(self) -> None:
        self.points: list[Array] = []
        self.parents: list[int] = []
        self.tags: list[int] = []
        self.radii: list[float] = []
        self.ends: dict[str, int] = {}

    def stem(self, name: str, points: Array, radii: Array, tag: int, parent: int) -> None:
        """Append a chain of nodes below `parent` (-1: a new root)."""
        for p, r in zip(points, radii, strict=True):
            self.points.append(np.asarray(p, float))
            self.parents.append(parent)
            self.tags.append(tag)
            self.radii.append(float(r))
            parent = len(self.points) - 1
        self.ends[name] = parent

    def nearest(self, name: str, point: Array) -> int:
        """Node closest to `point` on the chain that ends in `name`."""
        node, best, least = self.ends[name], self.ends[name], np.inf
        while node >= 0:
            d = float(np.linalg.norm(self.points[node] - point))
            if d < least:
                best, least = node, d
            node = self.parents[node]
        return best

    def grow(
        self,
        attractors: Array,
        tags: Array,
        rng: np.random.Generator,
        angle_deg: tuple[float, float],
        inside: InsideTest | None = None,
    ) -> Tree:
        """Space colonisation of attractors (n, 3) mm; each is reached only by nodes of its own tag."""
        stems = len(self.points)
        colony = _Colony(self, attractors, tags, rng, angle_deg, inside)
        for _ in range(160):
            if not colony.advance():
                break
        n = len(self.points)
        tree = Tree(
            np.array(self.points),
            np.array(self.parents),
            np.array(self.tags),
            np.array(self.radii),
            np.zeros(n, int),
        )
        _straighten(tree, stems)
        return tree


class _Colony:
    """State of one colonisation run."""

    def __init__(
        self,
        builder: TreeBuilder,
        attractors: Array,
        tags: Array,
        rng: np.random.Generator,
        angle_deg: tuple[float, float],
        inside: InsideTest | None,
    ) -> None:
        self.builder, self.rng, self.angle, self.inside = builder, rng, angle_deg, inside
        self.attractors, self.tags = attractors, tags
        self.nearest = np.full(len(attractors), -1)
        self.distance = np.full(len(attractors), np.inf)
        self.stalled = np.zeros(len(attractors), int)
        self.kids = list(np.bincount([p for p in builder.parents if p >= 0], minlength=len(builder.parents)))
        self.heading = [self._stem_heading(i) for i in range(len(builder.points))]
        self._claim(0)

    def _stem_heading(self, i: int) -> Array:
        parent = self.builder.parents[i]
        if parent < 0:
            return np.array([0.0, 0.0, 1.0])
        d = self.builder.points[i] - self.builder.points[parent]
        return d / (np.linalg.norm(d) + 1e-9)

    def _claim(self, first: int) -> None:
        """Let the nodes from index `first` on take over the attractors that are closest to them."""
        from scipy.spatial import cKDTree

        points = np.array(self.builder.points[first:])
        labels = np.array(self.builder.tags[first:])[:, None] * 1e4
        alive = np.flatnonzero(self.distance > KILL_MM)
        if not len(points) or not len(alive):
            return
        known = cKDTree(np.hstack([points, labels]))
        goal = np.hstack([self.attractors[alive], self.tags[alive, None] * 1e4])
        distance, index = known.query(goal, distance_upper_bound=1e3)
        closer = distance < self.distance[alive] - 0.05
        self.stalled[alive] = np.where(closer, 0, self.stalled[alive] + 1)
        self.distance[alive[closer]] = distance[closer]
        self.nearest[alive[closer]] = index[closer] + first

    def advance(self) -> bool:
        """One round of growth; False when no attractor is left to reach."""
        alive = np.flatnonzero((self.distance > KILL_MM) & (self.stalled < 6) & (self.nearest >= 0))
        if not len(alive):
            return False
        builder, first = self.builder, len(self.builder.points)
        order = np.argsort(self.nearest[alive], kind="stable")
        nodes, starts = np.unique(self.nearest[alive][order], return_index=True)
        full = np.array([self.kids[n] >= 2 for n in nodes])
        for group in np.split(alive[order], starts[1:]) if full.any() else []:
            if self.kids[self.nearest[group[0]]] >= 2:
                self.stalled[group] += 2
        source = np.array(builder.points)[self.nearest[alive][order]]
        pull = self.attractors[alive[order]] - source
        pull /= np.linalg.norm(pull, axis=1, keepdims=True)
        pull = np.add.reduceat(pull, starts, axis=0)[~full]
        nodes = nodes[~full]
        if not len(nodes):
            return True
        headings = self._steer(nodes, pull)
        sources = np.array([builder.points[n] for n in nodes])
        places = sources + STEP_MM * headings
        allowed = self.inside(places, sources) if self.inside is not None else np.ones(len(places), bool)
        for node, heading, place in zip(
            nodes[allowed].tolist(), headings[allowed], places[allowed], strict=True
        ):
            builder.points.append(place)
            builder.parents.append(node)
            builder.tags.append(builder.tags[node])
            builder.radii.append(0.0)
            self.kids[node] += 1
            self.kids.append(0)
            self.heading.append(heading)
        self._claim(first)
        return True

    def _steer(self, nodes: Array, pull: Array) -> Array:
        """Turn from each node's heading to its pull: gently when going on, by the drawn angle at forks."""
        old = np.array([self.heading[n] for n in nodes])
        new = pull / (np.linalg.norm(pull, axis=1, keepdims=True) + 1e-9) + 0.5 * old
        new /= np.linalg.norm(new, axis=1, keepdims=True) + 1e-9
        fork = np.clip(self.rng.normal(*self.angle, len(nodes)) * 0.8, 10.0, 60.0)
        limit = np.radians(np.where([self.kids[n] == 0 for n in nodes], 18.0, fork))[:, None]
        cosine = np.clip((old * new).sum(1, keepdims=True), -1.0, 1.0)
        across = new - cosine * old
        norm = np.linalg.norm(across, axis=1, keepdims=True)
        across = np.where(norm < 1e-6, self.rng.standard_normal(old.shape), across / np.maximum(norm, 1e-6))
        turned = np.cos(limit) * old + np.sin(limit) * across
        return np.where(np.arccos(cosine) <= limit, new, turned)


def _straighten(tree: Tree, stems: int, rounds: int = 3) -> None:
    """Laplacian smoothing of the grown chains (nodes with one child); forks and stems stay."""
    count = tree.children_count()
    only_child = np.full(len(tree), -1)
    parent, child = tree.edges
    only_child[parent] = child
    inner = np.flatnonzero((count == 1) & (tree.parents >= 0) & (np.arange(len(tree)) >= stems))
    for _ in range(rounds):
        middle = 0.5 * (tree.points[tree.parents[inner]] + tree.points[only_child[inner]])
        tree.points[inner] = 0.5 * tree.points[inner] + 0.5 * middle


def murray_radii(tree: Tree, exponent: float, leaf_mm: float, keep: Array) -> None:
    """Murray's law r_p^g = sum r_c^g from leaves of `leaf_mm` up; nodes in `keep` hold their radius."""
    grown = leaf_mm * tree.leaf_weight() ** (1.0 / exponent)
    tree.radii = np.where(keep, tree.radii, np.maximum(grown, MIN_RADIUS_MM))


def branching_orders(tree: Tree, first: Array) -> Array:
    """Order of each node: that of `first` where given (>= 0), else one more where a lesser branch leaves."""
    weight = tree.leaf_weight()
    order = first.copy()
    for i in range(len(tree)):
        if order[i] < 0:
            p = tree.parents[i]
            order[i] = order[p] + int(weight[p] > weight[i] + 0.5 and weight[i] < 0.75 * weight[p])
    return order


def branching_angles_deg(tree: Tree, forks: Array, steps: int = 2) -> Array:
    """Angle (degrees) between what arrives at each of the given forks and each branch that leaves it.

    Directions are taken over up to `steps` nodes, short of the next fork.
    """
    count = tree.children_count()
    parent, child = tree.edges
    follower = np.arange(len(tree))
    follower[parent[count[parent] == 1]] = child[count[parent] == 1]
    back = tree.parents[forks]
    leaving = child[np.isin(parent, forks)]
    on = leaving
    for _ in range(steps - 1):
        back = np.where((count[back] == 1) & (tree.parents[back] >= 0), tree.parents[back], back)
        on = follower[on]
    arriving = np.zeros((len(tree), 3))
    arriving[forks] = tree.points[forks] - tree.points[back]
    a = arriving[tree.parents[leaving]]
    b = tree.points[on] - tree.points[tree.parents[leaving]]
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
