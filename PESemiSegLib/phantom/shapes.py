"""Owns signed-distance shapes and curves: unions, ellipsoids, frames, Catmull-Rom curves, anti-aliasing."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def coverage(sdf: Array, width_mm: float) -> Array:
    """Anti-aliased share of a voxel inside a surface: smoothstep over +-width/2 of the signed distance."""
    t = np.multiply(sdf, -1.0 / width_mm, dtype=np.float32)
    t += 0.5
    np.maximum(t, 0.0, out=t)
    np.minimum(t, 1.0, out=t)
    rest = 3.0 - 2.0 * t
    t *= t
    t *= rest
    return t


def smooth_min(a: Array, b: Array, radius: float) -> Array:
    """Polynomial smooth union of two distance fields, rounding over `radius` mm."""
    h = np.maximum(radius - np.abs(a - b), 0.0) / radius
    return np.minimum(a, b) - h * h * (radius * 0.25)


def smooth_max(a: Array, b: Array, radius: float) -> Array:
    return -smooth_min(-a, -b, radius)


def ellipsoid(coords: tuple[Array, ...], centre: Array, radii: Array, frame: Array | None = None) -> Array:
    """Approximate signed distance (mm) to an ellipsoid; rows of `frame` are its axes."""
    d = [c - m for c, m in zip(coords, centre, strict=True)]
    if frame is not None:
        d = [row[0] * d[0] + row[1] * d[1] + row[2] * d[2] for row in np.asarray(frame, np.float32)]
    q = [v / np.float32(r) for v, r in zip(d, radii, strict=True)]
    k0 = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2) + 1e-6
    k1 = np.sqrt(sum((v / np.float32(r)) ** 2 for v, r in zip(q, radii, strict=True))) + 1e-6
    return k0 * (k0 - 1.0) / k1


def frame_along(direction: Array, up: Array = np.array([0.0, 0.0, 1.0])) -> Array:
    """Right-handed frame (rows) whose first axis is `direction`."""
    a = np.asarray(direction, float) / np.linalg.norm(direction)
    b = np.cross(up, a)
    if np.linalg.norm(b) < 1e-6:
        b = np.array([1.0, 0.0, 0.0])
    b /= np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)])


def curve(points: Array, step_mm: float = 3.0) -> Array:
    """Catmull-Rom curve through (n, d) points, resampled about every `step_mm` of the first three columns."""
    p = np.asarray(points, float)
    ends = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    pieces = []
    for i in range(len(p) - 1):
        a, b, c, d = ends[i : i + 4]
        n = max(1, int(np.ceil(np.linalg.norm((c - b)[:3]) / step_mm)))
        t = (np.arange(n) / n)[:, None]
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    return np.concatenate([*pieces, p[-1:]])
