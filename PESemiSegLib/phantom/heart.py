"""Owns heart and great vessels: chambers as ellipsoids, vessels as tubes, each with its blood pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, curve, ellipsoid, frame_along, smooth_min

HEART_AXIS = np.array([0.66, -0.52, -0.54])  # base to apex


@dataclass(frozen=True)
class Tube:
    """A swept circle: points (n, 3) mm and radii (n,) mm, filled from `pool`."""

    pool: str
    points: Array
    radii: Array


@dataclass(frozen=True)
class Blob:
    """An ellipsoid: centre and radii in mm, rows of `frame` are its axes."""

    pool: str
    centre: Array
    radii: Array
    frame: Array

    def sdf(self, coords: tuple[Array, ...]) -> Array:
        return ellipsoid(coords, self.centre, self.radii, self.frame)


@dataclass(frozen=True)
class Heart:
    """What lies in the mediastinum, patient mm, in painting order."""

    walls: tuple[Blob, ...]  # muscle of the right and of the left ventricle
    chambers: tuple[Blob, ...]
    tubes: tuple[Tube, ...]
    rv_lv_ratio: float

    @property
    def painting_order(self) -> tuple[Blob, ...]:
        """Right ventricle, left ventricle with the septum, then the atria, which open into both."""
        right, left = self.walls
        of = {pool: [b for b in self.chambers if b.pool == pool] for pool in ("ra", "rv", "la", "lv")}
        return (right, *of["rv"], left, *of["lv"], *of["la"], *of["ra"])

    @property
    def centre(self) -> Array:
        return np.mean([b.centre for b in self.chambers], 0)


def build_heart(patient: PatientParameters, rng: np.random.Generator, strain: float = 0.0) -> Heart:
    """Heart of a patient; `strain` (0..1) dilates the right ventricle and flattens the left (RV/LV > 1)."""
    scale = np.array(patient.size)
    jitter = rng.normal(0.0, 2.0, 3)
    k = patient.heart_scale * scale.mean()
    rv_width = (21.5 + 14.0 * strain) * k * rng.uniform(0.93, 1.06)
    lv_width = (25.5 - 5.0 * strain) * k * rng.uniform(0.95, 1.05)
    drop = -0.35 * patient.inspiration_mm

    def at(x: float, y: float, z: float) -> Array:
        return np.array([x, y, z + drop]) * scale + jitter

    tilt = frame_along(HEART_AXIS, np.array([0.25, -0.6, 0.75]))
    lv = at(37, -24, -76)
    rv = at(8, -46 - 4 * strain, -82)
    wall = rng.uniform(9.0, 11.5) * k
    walls = [
        Blob("myocardium", rv, np.array([46 * k, rv_width + 3.5, 27 * k + 3]), tilt),
        Blob("myocardium", lv, np.array([46 * k + wall * 0.7, lv_width + wall, lv_width + wall]), tilt),
    ]
    atrium = np.eye(3)
    chambers = [
        Blob("ra", at(-29, -17, -70), np.array([22 + 5 * strain, 25, 33]) * k, atrium),
        Blob("ra", at(-22, -38, -56), np.array([11, 14, 11]) * k, atrium),  # appendage
        Blob("rv", rv, np.array([43 * k, rv_width, 24 * k]), tilt),
        Blob("la", at(6, 12, -50), np.array([31, 17, 22]) * k, atrium),
        Blob("la", at(37, -12, -40), np.array([9, 15, 9]) * k, frame_along(np.array([0.3, -0.8, 0.2]))),
        Blob("lv", lv, np.array([43 * k, lv_width, lv_width]), tilt),
    ]
    return Heart(tuple(walls), tuple(chambers), _great_vessels(patient, rng), float(rv_width / lv_width))


def _great_vessels(patient: PatientParameters, rng: np.random.Generator) -> tuple[Tube, ...]:
    scale = np.array(patient.size)
    ao = patient.aorta_diameter_mm / 2
    unfold = rng.uniform(-3.0, 5.0)  # elderly arches sweep further to the left
    drop = -0.35 * patient.inspiration_mm
    rows = {
        # pool, part: (x, y, z, radius)
        ("rv", "outflow"): [(10, -58, -72 + drop, 17), (18, -54, -50, 14), (19, -44, -36, 13.5)],
        ("aorta", "ascending"): [
            (22, -22, -62 + drop, 11),
            (10, -24, -50, ao * 1.12),
            (-4, -33, -36, ao * 1.08),
            (-12, -36, -14, ao),
            (-11, -31, 8, ao * 0.98),
            (-3, -20, 25, ao * 0.95),
            (9 + unfold * 0.3, -4, 32, ao * 0.92),
            (19 + unfold, 14, 28, ao * 0.88),
            (25 + unfold, 32, 14, ao * 0.84),
            (27 + unfold, 40, -12, ao * 0.80),
            (26 + unfold * 0.5, 42, -60, ao * 0.78),
            (21, 41, -110, ao * 0.75),
            (12, 39, -160, ao * 0.72),
            (8, 38, -210, ao * 0.70),
        ],
        ("aorta", "brachiocephalic"): [
            (-6, -20, 34, 7),
            (-13, -14, 52, 6.5),
            (-22, -8, 75, 6),
            (-32, -6, 110, 5),
        ],
        ("aorta", "left carotid"): [(4, -9, 38, 4.5), (8, -4, 62, 4), (17, -2, 90, 3.6), (22, 0, 125, 3.5)],
        ("aorta", "left subclavian"): [
            (14, 5, 38, 5.5),
            (19, 12, 62, 5),
            (28, 14, 84, 4.8),
            (62, 4, 104, 4.5),
        ],
        ("svc", "cava"): [
            (-25, -22, 44, 8.5),
            (-29, -19, 22, 9.5),
            (-31, -16, -5, 10),
            (-31, -14, -32, 10.5),
            (-29, -16, -48, 11),
        ],
        ("svc", "left brachiocephalic"): [
            (62, -14, 92, 6),
            (34, -30, 70, 7),
            (8, -42, 54, 7),
            (-14, -36, 46, 7.5),
            (-25, -24, 42, 8),
        ],
        ("svc", "right brachiocephalic"): [(-62, -10, 96, 6), (-36, -20, 74, 7), (-27, -22, 52, 8)],
        ("azygos", "azygos"): [
            (-30, -8, 10, 4),
            (-27, 10, 16, 4.2),
            (-17, 30, 12, 4),
            (-9, 41, 2, 3.6),
            (-6, 44, -60, 3.3),
            (-5, 44, -150, 3),
        ],
        ("ivc", "cava"): [
            (-24, -4, -86 + drop, 12),
            (-25, 4, -112 + drop, 12),
            (-24, 8, -145, 11.5),
            (-22, 10, -210, 11),
        ],
    }
    tubes = []
    for (pool, _), row in rows.items():
        table = np.array(row, float)
        table[:, :3] = table[:, :3] * scale
        fine = curve(table, 4.0)
        tubes.append(Tube(pool, fine[:, :3], fine[:, 3]))
    return tuple(tubes)


def soft_column(patient: PatientParameters) -> tuple[Tube, ...]:
    """Oesophagus and thymic fat column: what keeps the lungs apart besides the heart."""
    rows = [
        (2, 30, 120),
        (3, 32, 60),
        (5, 31, 20),
        (8, 33, -20),
        (8, 37, -60),
        (14, 34, -100),
        (20, 20, -135),
    ]
    points = curve(np.array(rows, float) * np.array(patient.size), 5.0)
    return (Tube("oesophagus", points, np.full(len(points), 7.0)),)


def mediastinum_field(
    coords: tuple[Array, Array, Array], patient: PatientParameters, heart: Heart, tubes: tuple[Tube, ...]
) -> Array:
    """Distance field (atlas mm) that the lungs may not enter: heart, vessels, airways and spine in fat."""
    x, y, z = coords
    scale = np.array(patient.size)
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    spine = np.hypot(x / 1.18, y - 64.0) - 18.5
    rear = (
        np.hypot(np.maximum(np.abs(x) - 28.0, 0.0), np.minimum(y - 98.0, 0.0)) - 17.0
    )  # transverse processes
    spine = smooth_min(spine, rear, 6.0)
    front = np.hypot(x * 1.4, (y + 70.0) / 1.3) - np.interp(z, [-120, -60, -20, 30, 60], [12, 12, 5, 10, 26])
    upper = np.hypot(x, (y + 4.0) * 0.75) - np.interp(z, [10, 40, 70, 100], [20, 24, 25, 24])
    upper = np.maximum(upper, 15.0 - z)
    field = smooth_min(smooth_min(spine, front, 8.0), upper, 8.0)
    field = np.broadcast_to(field, shape).astype(np.float32)
    lines = [c.ravel() * np.float32(s) for c, s in zip(coords, scale, strict=True)]
    for blob in (*heart.walls, *heart.chambers):
        reach = blob.radii.max() + 16.0
        spans = [
            slice(*np.searchsorted(a, [c - reach, c + reach]))
            for a, c in zip(lines, blob.centre, strict=True)
        ]
        box = (spans[2], spans[1], spans[0])
        near = [a[s] for a, s in zip(lines, spans, strict=True)]
        part = blob.sdf((near[0][None, None], near[1][None, :, None], near[2][:, None, None]))
        field[box] = smooth_min(field[box], (part - 3.5) / np.float32(scale.mean()), 9.0)
    near_tubes = np.full(shape, 60.0, np.float32)
    for tube in tubes:
        _add_tube(near_tubes, coords, tube.points / scale, tube.radii + 2.0)
    return smooth_min(field, near_tubes, 9.0)


def _add_tube(field: Array, coords: tuple[Array, Array, Array], points: Array, radii: Array) -> None:
    """Union, in place, with a chain of balls, evaluated only near it."""
    lines = [c.ravel() for c in coords]
    for p, r in zip(points, radii, strict=True):
        reach = r + 16.0
        spans = [slice(*np.searchsorted(a, [c - reach, c + reach])) for a, c in zip(lines, p, strict=True)]
        box = (spans[2], spans[1], spans[0])
        d = [np.float32(1.0) * (a[s] - np.float32(c)) ** 2 for a, s, c in zip(lines, spans, p, strict=True)]
        ball = np.sqrt(d[0][None, None] + d[1][None, :, None] + d[2][:, None, None]) - np.float32(r)
        np.minimum(field[box], ball, out=field[box])
