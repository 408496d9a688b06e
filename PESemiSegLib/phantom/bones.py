"""Owns the skeleton: spine, 24 ribs with cartilage, sternum, clavicles and shoulder blades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import Axes
from PESemiSegLib.phantom.lungs import Chest
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, coverage, curve

VERTEBRA_MM = 22.5  # height of a vertebral body with its disc


@dataclass(frozen=True)
class Slat:
    """A swept ellipse: points (n, 3), half thickness along `normal` (n, 3) and half height across, mm."""

    points: Array
    normals: Array
    thickness: float
    height: float
    cortex_hu: float
    marrow_hu: float


@dataclass(frozen=True)
class Skeleton:
    slats: tuple[Slat, ...]
    spine_centre: tuple[float, float]
    phase_mm: float
    scale: Array
    density: float


def build_skeleton(patient: PatientParameters, chest: Chest, rng: np.random.Generator) -> Skeleton:
    density = float(np.clip(rng.normal(1.0, 0.15), 0.7, 1.3))
    slats = [*_ribs(chest, rng, density), *_front(chest, density), *_shoulders(patient, density)]
    return Skeleton(
        tuple(slats), (0.0, 64.0 * patient.size[1]), float(rng.uniform(0, VERTEBRA_MM)), chest.scale, density
    )


def _ribs(chest: Chest, rng: np.random.Generator, density: float) -> list[Slat]:
    """Each rib leaves the spine, slopes down around the cavity wall and ends in cartilage at the front."""
    slats = []
    for side in (-1.0, 1.0):
        for number in range(1, 13):
            top = 112.0 - 22.0 * number + rng.normal(0, 1.0) + (4.0 if number < 3 else 0.0)
            drop = np.interp(number, [1, 2, 4, 7, 10, 12], [34, 48, 66, 84, 84, 50])
            turn = np.interp(number, [1, 8, 10, 11, 12], [150, 150, 132, 105, 80])
            angle = np.radians(np.linspace(14.0, turn, 26))
            fall = (angle - angle[0]) / np.radians(136.0)
            z = top - drop * (0.25 * fall + 0.75 * fall**1.3)
            points = _on_wall(chest, side, angle, z)
            root = np.array([side * 16.0, 76.0, top + 2.0]) * chest.scale
            path = curve(np.vstack([root, points]), 5.0)
            outward = path - np.array([0.0, 12.0 * chest.scale[1], 0.0])
            outward[:, 2] = 0.35 * np.abs(outward[:, :2]).max(1)
            outward /= np.linalg.norm(outward, axis=1, keepdims=True)
            slats.append(Slat(path, outward, 3.6, 6.6 if number > 1 else 7.5, 900 * density, 230 * density))
            if number <= 9:
                slats.append(_cartilage(chest, side, path, number, outward[-1]))
    return slats


def _cartilage(chest: Chest, side: float, path: Array, number: int, normal: Array) -> Slat:
    goal = np.array([side * 17.0, -84.0, max(np.interp(number, [1, 7], [52, -78]), -78.0)]) * chest.scale
    goal[1] = np.interp(goal[2], [-80 * chest.scale[2], 50 * chest.scale[2]], [-92, -56]) * chest.scale[1]
    middle = 0.5 * (path[-1] + goal) + np.array([side * 4.0, -5.0, -9.0])
    points = curve(np.array([path[-1], middle, goal]), 5.0)
    return Slat(points, np.repeat(normal[None], len(points), 0), 4.0, 6.0, 140.0, 95.0)


def _on_wall(chest: Chest, side: float, angle: Array, z: Array) -> Array:
    """Points 5 mm outside the cavity, at angles from the back around to the front."""
    centre = np.array([0.0, 12.0]) * chest.scale[:2]
    direction = np.stack([side * np.sin(angle), np.cos(angle)], 1)
    low, high = np.full(len(angle), 15.0), np.full(len(angle), 210.0)
    for _ in range(22):
        middle = 0.5 * (low + high)
        places = np.column_stack([centre + direction * middle[:, None], z * chest.scale[2]])
        outside = chest.cavity.at(places) > 5.0
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    return np.column_stack([centre + direction * low[:, None], z * chest.scale[2]])


def _front(chest: Chest, density: float) -> list[Slat]:
    rows = np.array([(0, -52, 56), (0, -66, 30), (0, -80, -10), (0, -90, -55), (0, -93, -82)], float)
    manubrium = curve(rows[:2] * chest.scale, 5.0)
    body = curve(rows[1:] * chest.scale, 5.0)
    front = np.array([0.0, -0.95, 0.3])
    return [
        Slat(manubrium, np.repeat(front[None], len(manubrium), 0), 6.5, 25.0, 560 * density, 190 * density),
        Slat(body, np.repeat(front[None], len(body), 0), 5.5, 16.0, 560 * density, 190 * density),
    ]


def _shoulders(patient: PatientParameters, density: float) -> list[Slat]:
    """Clavicles and shoulder blades; raised arms lift and turn the blades."""
    scale, slats = np.array(patient.size), []
    for side in (-1.0, 1.0):
        collar = curve(
            np.array(
                [(side * 20, -58, 58), (side * 60, -46, 80), (side * 105, -12, 106), (side * 140, 8, 125)]
            )
            * scale,
            5.0,
        )
        slats.append(
            Slat(collar, np.tile([0.0, -0.4, 0.9], (len(collar), 1)), 5.5, 6.0, 950 * density, 260 * density)
        )
        blade = curve(
            np.array(
                [(side * 128, 58, 112), (side * 122, 70, 70), (side * 116, 84, 25), (side * 112, 90, -5)]
            )
            * scale,
            5.0,
        )
        out = np.tile([side * 0.55, 0.8, 0.1], (len(blade), 1))
        slats.append(Slat(blade, out, 2.2, 26.0, 800 * density, 350 * density))
        spine = curve(
            np.array([(side * 100, 88, 92), (side * 135, 72, 112), (side * 158, 40, 128)]) * scale, 5.0
        )
        slats.append(
            Slat(spine, np.tile([0.0, 0.6, 0.8], (len(spine), 1)), 4.5, 8.0, 850 * density, 300 * density)
        )
    return slats


def paint_skeleton(hu: Array, axes: Axes, skeleton: Skeleton) -> None:
    """Paint all bones into hu in place."""
    width = float(axes.spacing_mm[:2].mean())
    for slat in skeleton.slats:
        _paint_slat(hu, axes, slat, width)
    _paint_spine(hu, axes, skeleton, width)


def _paint_slat(hu: Array, axes: Axes, slat: Slat, width: float) -> None:
    """Short elliptic rods from point to point."""
    p, q = slat.points[:-1], slat.points[1:]
    half = 0.5 * np.linalg.norm(q - p, axis=1, keepdims=True)
    along = 0.5 * (q - p) / (half + 1e-9)
    normal = slat.normals[:-1] - (slat.normals[:-1] * along).sum(1, keepdims=True) * along
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    across = np.cross(along, normal)
    centre = 0.5 * (p + q)
    extent = half * np.abs(along) + slat.thickness * np.abs(normal) + slat.height * np.abs(across) + 2 * width
    frames = np.stack([along, normal / slat.thickness, across / slat.height], 1).astype(np.float32)
    thin, high = np.float32(slat.thickness), np.float32(slat.height)
    for i, box in axes.boxes(centre - extent, centre + extent):
        x, y, z = (c - np.float32(m) for c, m in zip(axes.at(box), centre[i], strict=True))
        t, u, v = (row[0] * x + row[1] * y + row[2] * z for row in frames[i])
        q2 = np.sqrt(u * u + v * v) + np.float32(1e-6)
        u /= thin
        v /= high
        radial = (q2 - 1.0) * q2 / (np.sqrt(u * u + v * v) + np.float32(1e-6))
        ends = np.abs(t) - np.float32(half[i, 0] + 0.6)
        _blend_bone(hu[box], np.maximum(radial, ends), radial, width, slat.cortex_hu, slat.marrow_hu)


def _blend_bone(
    view: Array, sdf: Array, surface: Array, width: float, cortex_hu: float, marrow_hu: float
) -> None:
    """Cortex of 1.3 mm under `surface`, marrow below; never darker than what another bone left there."""
    shell = coverage(sdf, width)
    core = coverage(surface + 1.3, width)
    value = marrow_hu * core + cortex_hu * (1.0 - core)
    np.copyto(view, np.where((view > 180.0) & (value < view), view, view + (value - view) * shell))


def _paint_spine(hu: Array, axes: Axes, skeleton: Skeleton, width: float) -> None:
    """Vertebral bodies with endplates and discs, canal, laminae, transverse and spinous processes."""
    cx, cy = skeleton.spine_centre
    scale = float(skeleton.scale.mean())
    whole = axes.box(np.array([cx - 48, cy - 24, -1e4]), np.array([cx + 48, cy + 66, 1e4]))
    for k in range(whole[0].start, whole[0].stop):
        box = (slice(k, k + 1), whole[1], whole[2])
        x, y, z = axes.at(box)
        x, y = (x - cx) / scale, (y - cy) / scale
        height = VERTEBRA_MM * float(skeleton.scale[2])
        phase = np.float32((float(z[0, 0, 0]) + skeleton.phase_mm) / height)
        level = (phase - np.floor(phase) - 0.5) * 2.0  # -1..1 between disc centres
        size = np.float32(np.interp(float(z[0, 0, 0]), [-200, 120], [1.12, 0.82]))
        waist = 1.0 - 0.09 * (1 - level**2)
        body = (
            (np.sqrt((x / (19.0 * size * waist)) ** 2 + (y / (14.5 * size * waist)) ** 2) - 1.0) * 15.5 * size
        )
        body = np.maximum(body, (abs(level) - 0.80) * height / 2)
        disc = np.maximum(np.hypot(x / 1.25, y) - 13.5 * size, -body)
        canal = np.hypot(x / 1.1, y - 21.5) - 8.5
        arch = np.maximum(np.hypot(x / 1.15, y - 22.0) - 12.5, 2.0 - y + 10.0)
        arch = np.maximum(arch, abs(level) * 11.0 - 8.5)
        spinous = np.maximum(np.abs(x) - 2.6, np.abs(y - 42.0 - 5 * (0.2 - level)) - 13.0)
        spinous = np.maximum(spinous, abs(level + 0.35) * 11.0 - 6.5)
        wing = np.hypot((np.abs(x) - 24.0) / 2.8, y - 24.0) - 4.2
        wing = np.maximum(wing, abs(level - 0.3) * 11.0 - 4.8)
        pedicle = np.maximum(np.hypot((np.abs(x) - 11.0), 0.0) - 3.4, np.abs(y - 15.0) - 8.0)
        pedicle = np.maximum(pedicle, abs(level - 0.35) * 11.0 - 5.0)
        rear = np.minimum(np.minimum(arch, wing), np.minimum(spinous, pedicle))
        rear = np.maximum(rear, -canal)
        view = hu[box]
        soft = coverage(np.minimum(disc, canal).astype(np.float32), width)
        view += (np.where(canal < 1, 35.0, 75.0) - view) * soft
        texture = 1.0 + 0.12 * np.sin(x * 2.1 + 3 * phase) * np.sin(y * 1.9)
        rear = rear.astype(np.float32) * scale
        _blend_bone(view, rear, rear, width, 780 * skeleton.density, 320 * skeleton.density)
        shell = coverage(body.astype(np.float32) * scale, width)
        core = coverage(body.astype(np.float32) * scale + 1.1, width)
        value = 190.0 * skeleton.density * texture * core + 560.0 * skeleton.density * (1 - core)
        view += (value - view) * shell
