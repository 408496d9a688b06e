"""Owns the drawing of tubes on a voxel grid: anti-aliased capsules and cones in local boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import Axes
from PESemiSegLib.phantom.shapes import Array


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
        """Union of the cones; what is thinner than a voxel is drawn one voxel wide and fainter."""
        wx, wy, wz = (float(v) for v in self.axes.spacing_mm)
        plane = 0.5 * (wx + wy)
        widest = max(plane, wz)
        axis = cones.end - cones.start
        axis /= np.linalg.norm(axis, axis=1, keepdims=True) + 1e-9
        through_mm = 1.0 / np.sqrt((axis[:, 0] / wx) ** 2 + (axis[:, 1] / wy) ** 2 + (axis[:, 2] / wz) ** 2)
        mean = 0.5 * (cones.radius0 + cones.radius1)
        gain = np.minimum(1.0, np.pi * mean**2 * through_mm / (wx * wy * wz))
        thin = mean < 0.5 * widest
        reach = np.maximum(cones.radius0, cones.radius1) + 0.5 * widest
        reach = np.where(thin, np.maximum(reach, widest), reach) + 0.15 * widest
        low = np.minimum(cones.start, cones.end) - reach[:, None]
        high = np.maximum(cones.start, cones.end) + reach[:, None]
        for i, box in self.axes.boxes(low, high):
            gap, across, radius = _cone_distance(self.axes.at(box), cones, i)
            width = np.sqrt(plane**2 + np.float32(wz**2 - plane**2) * across)
            if thin[i]:
                drawn = np.maximum(radius, 0.5 * width)
                weak = np.where(radius < 0.5 * width, np.float32(gain[i]), np.float32(1.0))
                share = weak * _step(gap + (radius - drawn), width)
            else:
                share = _step(gap, width)
            level = (share * 255.0 + 0.5).astype(np.uint8)
            here = self.share[box]
            more = level > here
            here[more] = level[more]
            self.owner[box][more] = cones.owner[i]
            self.inside[box][gap < 0] = 1

    def take(self) -> tuple[Array, Array, Array]:
        """Flat voxel indices drawn so far, their share in 0..1 and their owner."""
        index = np.flatnonzero(self.share)
        return index, self.share.ravel()[index].astype(np.float32) / 255.0, self.owner.ravel()[index]

    def clear(self) -> None:
        self.share[...] = 0
        self.owner[...] = 0
        self.inside[...] = 0


def _step(sdf: Array, width: Array) -> Array:
    t = np.clip(0.5 - 0.8 * sdf / width, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _cone_distance(coords: tuple[Array, ...], cones: Cones, i: int) -> tuple[Array, Array, Array]:
    """Distance to a rounded cone, square of the z part of its normal, radius at the foot point."""
    p = cones.start[i].astype(np.float32)
    axis = (cones.end[i] - cones.start[i]).astype(np.float32)
    r0, r1 = np.float32(cones.radius0[i]), np.float32(cones.radius1[i])
    inverse = np.float32(1.0 / (float(axis @ axis) + 1e-9))
    dx, dy, dz = (c - m for c, m in zip(coords, p, strict=True))
    t = np.clip(dx * (axis[0] * inverse) + dy * (axis[1] * inverse) + dz * (axis[2] * inverse), 0.0, 1.0)
    fx, fy, fz = dx - t * axis[0], dy - t * axis[1], dz - t * axis[2]
    fz *= fz
    square = fx * fx + fy * fy + fz + np.float32(1e-8)
    radius = r0 + t * (r1 - r0)
    return np.sqrt(square) - radius, fz / square, radius


def tree_cones(points: Array, parents: Array, radii: Array, owner: Array) -> Cones:
    """One cone per edge; a twig starts with its own radius, not with its parent's."""
    child = np.flatnonzero(parents >= 0)
    parent = parents[child]
    start = np.minimum(radii[parent], 1.12 * radii[child])
    return Cones(points[parent], points[child], start, radii[child], owner[child])
