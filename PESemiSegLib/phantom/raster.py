"""Owns the drawing of tubes on a voxel grid: anti-aliased capsules and cones in local boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import Array, Axes


@dataclass
class Cones:
    """Edges to draw: end points (n, 3) mm, radii (n,) mm and the label that owns the voxels (1..32767)."""

    start: Array
    end: Array
    radius0: Array
    radius1: Array
    owner: Array

    def __len__(self) -> int:
        return len(self.start)


@dataclass
class Canvas:
    """Reusable buffers of one layer: share of each voxel inside (0..255), owner label, centre inside."""

    axes: Axes
    share: Array
    owner: Array
    inside: Array

    @classmethod
    def on(cls, axes: Axes) -> Canvas:
        return cls(
            axes,
            np.zeros(axes.shape, np.uint8),
            np.zeros(axes.shape, np.int16),
            np.zeros(axes.shape, np.uint8),
        )

    def draw(self, cones: Cones) -> None:
        """Union of the cones; a vessel thinner than a voxel is drawn one voxel wide and fainter."""
        width = float(self.axes.spacing_mm[:2].mean())
        footprint = width * width
        for i in range(len(cones)):
            p, q = cones.start[i], cones.end[i]
            r0, r1 = float(cones.radius0[i]), float(cones.radius1[i])
            reach = max(r0, r1, 0.5 * width) + 0.6 * width
            box = self.axes.box(np.minimum(p, q) - reach, np.maximum(p, q) + reach)
            if any(s.stop <= s.start for s in box):
                continue
            x, y, z = self.axes.at(box)
            radius_gap, radius = _cone_distance(x, y, z, p, q, r0, r1)
            mean = 0.5 * (r0 + r1)
            if mean < 0.5 * width:
                gain = min(1.0, np.pi * mean * mean / footprint)
                share = gain * _step(radius_gap + (radius - 0.5 * width), width)
            else:
                share = _step(radius_gap, width)
            level = (share * 255.0 + 0.5).astype(np.uint8)
            here = self.share[box]
            more = level > here
            here[more] = level[more]
            self.owner[box][more] = cones.owner[i]
            self.inside[box][radius_gap < 0] = 1

    def take(self) -> tuple[Array, Array, Array]:
        """Flat voxel indices drawn so far, their share in 0..1 and their owner."""
        index = np.flatnonzero(self.share)
        return index, self.share.ravel()[index].astype(np.float32) / 255.0, self.owner.ravel()[index]

    def clear(self) -> None:
        self.share[...] = 0
        self.owner[...] = 0
        self.inside[...] = 0


def _step(sdf: Array, width: float) -> Array:
    t = np.clip(0.5 - sdf * (0.8 / width), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _cone_distance(
    x: Array, y: Array, z: Array, p: Array, q: Array, r0: float, r1: float
) -> tuple[Array, Array]:
    """Distance to the surface of a rounded cone, and its radius at the foot point."""
    axis = (q - p).astype(np.float32)
    length2 = float(axis @ axis) + 1e-9
    dx, dy, dz = x - np.float32(p[0]), y - np.float32(p[1]), z - np.float32(p[2])
    along = (dx * axis[0] + dy * axis[1]) + dz * axis[2]
    t = np.clip(along / np.float32(length2), 0.0, 1.0)
    square = (dx * dx + dy * dy) + dz * dz + t * (t * np.float32(length2) - 2.0 * along)
    radius = np.float32(r0) + t * np.float32(r1 - r0)
    return np.sqrt(np.maximum(square, 0.0)) - radius, radius


def tree_cones(points: Array, parents: Array, radii: Array, owner: Array) -> Cones:
    """One cone per edge; a twig starts with its own radius, not with its parent's."""
    child = np.flatnonzero(parents >= 0)
    parent = parents[child]
    start = np.minimum(radii[parent], 1.12 * radii[child])
    return Cones(points[parent], points[child], start, radii[child], owner[child])
