"""Owns the drawing of tubes on a voxel grid: anti-aliased rounded cones, drawn many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import Axes
from PESemiSegLib.phantom.shapes import Array

_BATCH_VOXELS = 300_000
_MAX_OWNER = 0xFFFF


@dataclass
class Cones:
    """Edges to draw: end points (n, 3) mm, radii (n,) mm and the number that owns their voxels (0..65535)."""

    start: Array
    end: Array
    radius0: Array
    radius1: Array
    owner: Array

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of_tree(cls, points: Array, parents: Array, radii: Array) -> Cones:
        """One cone per edge, owned by its child node; a twig starts with its own radius, not its parent's."""
        child = np.flatnonzero(parents >= 0)
        parent = parents[child]
        start = np.minimum(radii[parent], 1.12 * radii[child])
        return cls(points[parent], points[child], start, radii[child], child)

    @classmethod
    def of_chain(cls, points: Array, radii: Array, owner: int) -> Cones:
        """A tube from point to point."""
        return cls(points[:-1], points[1:], radii[:-1], radii[1:], np.full(len(points) - 1, owner))


class Canvas:
    """One layer of tubes: how much of each voxel they fill, which of them does, whether its centre is inside.

    Share (1..255) and owner sit in one int32 per voxel, so that a union is a maximum.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.inside = np.zeros(axes.shape, np.uint8)
        self._key = np.zeros(axes.shape, np.int32)

    def draw(self, cones: Cones) -> None:
        """Union with the cones; what is thinner than a voxel is drawn one voxel wide and fainter."""
        wx, wy, wz = (float(v) for v in self.axes.spacing_mm)
        axis = cones.end - cones.start
        axis = axis / (np.linalg.norm(axis, axis=1, keepdims=True) + 1e-9)
        mean = 0.5 * (cones.radius0 + cones.radius1)
        through_mm = 1.0 / np.sqrt((axis[:, 0] / wx) ** 2 + (axis[:, 1] / wy) ** 2 + (axis[:, 2] / wz) ** 2)
        gain = np.minimum(1.0, np.pi * mean**2 * through_mm / (wx * wy * wz)).astype(np.float32)
        widest = max(0.5 * (wx + wy), wz)
        reach = np.maximum(np.maximum(cones.radius0, cones.radius1) + 0.65 * widest, 1.15 * widest)
        low = np.minimum(cones.start, cones.end) - reach[:, None]
        high = np.maximum(cones.start, cones.end) + reach[:, None]
        key, inside = self._key.reshape(-1), self.inside.reshape(-1)
        for chosen, flat, coords in _batches(self.axes, low, high):
            gap, level = self._shade(coords, cones, chosen, gain[chosen, None, None, None])
            seen = level > 0
            owners = np.broadcast_to(cones.owner[chosen, None, None, None], level.shape)[seen]
            np.maximum.at(key, flat[seen], (level[seen] << 16) | owners.astype(np.int32))
            inside[flat[gap < 0]] = 1

    def _shade(
        self, coords: tuple[Array, Array, Array], cones: Cones, chosen: Array, gain: Array
    ) -> tuple[Array, Array]:
        """Distance to each cone's surface and its share of the voxels (int32, 0..255); both (n, z, y, x)."""
        wx, wy, wz = (np.float32(v) for v in self.axes.spacing_mm)
        plane = np.float32(0.5) * (wx + wy)
        gap, across, radius = _cone_distance(coords, cones, chosen)
        width = np.sqrt(plane * plane + (wz * wz - plane * plane) * across)
        thin = radius < 0.5 * width
        t = np.float32(0.5) - np.float32(0.8) * (gap + np.where(thin, radius - 0.5 * width, 0.0)) / width
        np.maximum(t, 0.0, out=t)
        np.minimum(t, 1.0, out=t)
        share = t * t * (np.float32(3.0) - np.float32(2.0) * t)
        return gap, (np.where(thin, gain, np.float32(1.0)) * share * 255.0 + 0.5).astype(np.int32)

    def share(self, box: tuple[slice, slice, slice]) -> Array:
        """Share (0..1) of the voxels of a box."""
        return (self._key[box] >> 16).astype(np.float32) / np.float32(255.0)

    def owner(self, box: tuple[slice, slice, slice]) -> Array:
        """Owner of the voxels of a box; meaningful where the share is not 0."""
        return self._key[box] & _MAX_OWNER

    def take(self) -> tuple[Array, Array, Array]:
        """Flat indices of the voxels drawn so far, their share in 0..1 and their owner."""
        index = np.flatnonzero(self._key)
        key = self._key.reshape(-1)[index]
        return index, (key >> 16).astype(np.float32) / np.float32(255.0), key & _MAX_OWNER

    def clear(self) -> None:
        self._key[...] = 0
        self.inside[...] = 0


def _batches(
    axes: Axes, low: Array, high: Array
) -> Iterator[tuple[Array, Array, tuple[Array, Array, Array]]]:
    """Groups of boxes of like size, padded to one shape: their numbers, flat voxel indices and coordinates.

    Indices are (n, z, y, x), coordinates broadcast to that. Padding repeats voxels at the border of the grid,
    which is harmless to a union.
    """
    lines = (axes.x, axes.y, axes.z)
    first = np.stack([np.searchsorted(a, low[:, i]) for i, a in enumerate(lines)], 1)
    last = np.stack([np.searchsorted(a, high[:, i], side="right") for i, a in enumerate(lines)], 1)
    size = last - first
    on_grid = np.flatnonzero((size > 0).all(1))
    order = on_grid[np.lexsort((size[on_grid, 0], size[on_grid, 1], size[on_grid, 2]))]
    done = 0
    while done < len(order):
        ahead = np.maximum.accumulate(size[order[done : done + 1024]], axis=0).prod(1)
        count = max(
            1, int(np.searchsorted(ahead * np.arange(1, len(ahead) + 1), _BATCH_VOXELS, side="right"))
        )
        chosen = order[done : done + count]
        done += count
        shape = size[chosen].max(0)
        ix, iy, iz = (
            np.minimum(first[chosen, i, None] + np.arange(shape[i]), len(lines[i]) - 1) for i in range(3)
        )
        _, ny, nx = axes.shape
        flat = (iz[:, :, None, None] * ny + iy[:, None, :, None]) * nx + ix[:, None, None, :]
        yield (
            chosen,
            flat,
            (axes.x[ix][:, None, None], axes.y[iy][:, None, :, None], axes.z[iz][:, :, None, None]),
        )


def _cone_distance(
    coords: tuple[Array, Array, Array], cones: Cones, chosen: Array
) -> tuple[Array, Array, Array]:
    """Distance to rounded cones, square of the z part of their normal, radius at the foot point."""
    p = cones.start[chosen].astype(np.float32)[:, :, None, None, None]
    axis = (cones.end[chosen] - cones.start[chosen]).astype(np.float32)[:, :, None, None, None]
    r0 = cones.radius0[chosen].astype(np.float32)[:, None, None, None]
    r1 = cones.radius1[chosen].astype(np.float32)[:, None, None, None]
    slope = axis / ((axis * axis).sum(1, keepdims=True) + np.float32(1e-9))
    dx, dy, dz = coords[0] - p[:, 0], coords[1] - p[:, 1], coords[2] - p[:, 2]
    t = (dx * slope[:, 0] + dy * slope[:, 1]) + dz * slope[:, 2]
    np.maximum(t, 0.0, out=t)
    np.minimum(t, 1.0, out=t)
    square = (dx - t * axis[:, 0]) ** 2
    square += (dy - t * axis[:, 1]) ** 2
    fz = (dz - t * axis[:, 2]) ** 2
    square += fz
    square += np.float32(1e-8)
    fz /= square
    radius = r0 + t * (r1 - r0)
    return np.sqrt(square) - radius, fz, radius
