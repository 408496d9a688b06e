"""Owns the chest cavity: body surface, diaphragm, lungs with lobes, segments and fissures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.fields import CoarseField
from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.phantom.shapes import Array, smooth_max, smooth_min

STEP_MM = 3.0
LOW = np.array([-204.0, -201.0, -204.0])  # atlas box, mm (x, y, z); z = 0 is the carina
HIGH = np.array([204.0, 162.0, 135.0])

# Chest cavity by level: half width, half depth, centre y.
_Z = [-210, -150, -100, -50, 0, 40, 70, 90, 102, 112]
_HALF_WIDTH = [122, 126, 128, 125, 115, 99, 82, 66, 52, 36]
_HALF_DEPTH = [88, 91, 91, 88, 79, 65, 51, 40, 30, 20]
_CENTRE_Y = [6, 6, 6, 9, 15, 25, 33, 39, 43, 46]

# Bronchopulmonary segments: a point of each territory (atlas mm) and its lobe.
SEGMENTS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "RS1": ("RUL", (-55, 22, 68)),
    "RS2": ("RUL", (-84, 62, 22)),
    "RS3": ("RUL", (-72, -42, 8)),
    "RS4": ("RML", (-98, -30, -62)),
    "RS5": ("RML", (-58, -60, -70)),
    "RS6": ("RLL", (-66, 78, -22)),
    "RS7": ("RLL", (-40, 44, -92)),
    "RS8": ("RLL", (-100, 6, -108)),
    "RS9": ("RLL", (-108, 46, -108)),
    "RS10": ("RLL", (-62, 80, -112)),
    "LS1+2": ("LUL", (58, 34, 62)),
    "LS3": ("LUL", (72, -44, 14)),
    "LS4": ("LUL", (98, -34, -48)),
    "LS5": ("LUL", (92, -60, -80)),
    "LS6": ("LLL", (66, 78, -18)),
    "LS7+8": ("LLL", (98, 6, -108)),
    "LS9": ("LLL", (108, 46, -110)),
    "LS10": ("LLL", (62, 80, -112)),
}
LOBES = ("RUL", "RML", "RLL", "LUL", "LLL")


@dataclass(frozen=True)
class Chest:
    """Coarse distance fields (mm, negative inside) of body, cavity and lungs, already in patient mm."""

    body: CoarseField
    cavity: CoarseField
    lung: CoarseField
    diaphragm: CoarseField  # z of the point minus z of the dome
    fissure: CoarseField
    scale: Array

    def lobes_of(self, points: Array) -> Array:
        """Lobe index (into LOBES) of (n, 3) points in mm; meaningful inside the lungs."""
        return lobe_index(np.asarray(points) / self.scale)


def oblique_mm(points: Array) -> Array:
    """Signed distance to the oblique fissures (> 0: upper lobe side), atlas mm; the left is steeper."""
    x, y, z = (points[..., i] for i in range(3))
    left = x > 0
    normal_y = np.where(left, -0.80, -0.74)
    bow = 5.0 * np.sin(np.abs(x) / 38.0) + 4.0 * np.cos(y / 45.0)
    return normal_y * (y - 10.0) + np.sqrt(1 - normal_y**2) * (z + 52.0) + bow


def horizontal_mm(points: Array) -> Array:
    """Signed distance to the right horizontal fissure (> 0: upper lobe), atlas mm."""
    x, y, z = (points[..., i] for i in range(3))
    return z + 24.0 - 0.10 * (x + 80.0) - 0.08 * (y + 30.0) + 4.0 * np.cos((x + 75.0) / 30.0)


def lobe_index(points: Array) -> Array:
    """Index into LOBES of atlas points (n, 3)."""
    upper = oblique_mm(points) > 0
    right = points[..., 0] < 0
    return np.where(
        right, np.where(upper, np.where(horizontal_mm(points) > 0, 0, 1), 2), np.where(upper, 3, 4)
    )


def atlas_coords() -> tuple[Array, Array, Array]:
    """Broadcastable (x, y, z) of the coarse lattice, atlas mm, axes in (z, y, x) order."""
    lines = [np.arange(lo, hi + 0.1, STEP_MM, dtype=np.float32) for lo, hi in zip(LOW, HIGH, strict=True)]
    return lines[0][None, None, :], lines[1][None, :, None], lines[2][:, None, None]


def build_chest(patient: PatientParameters, rng: np.random.Generator, mediastinum: Array) -> Chest:
    """Lungs around a given mediastinum (distance field on the coarse lattice, atlas mm)."""
    from scipy.ndimage import gaussian_filter

    coords = atlas_coords()
    cavity = _cavity(coords)
    dome = _dome(coords, patient, rng)
    hull = np.full(cavity.shape, 1e3, np.float32)
    for side in (-1.0, 1.0):
        hull = np.minimum(hull, _one_lung(coords, side))
    lung = smooth_max(smooth_max(cavity, hull, 8.0), -dome, 5.0)
    lung = smooth_max(lung, -mediastinum, 7.0)
    lung = _without_pockets(gaussian_filter(lung, 0.7))
    points = np.stack(np.broadcast_arrays(*coords), -1)
    fissure = np.abs(oblique_mm(points))
    beside = (points[..., 0] < 0) & (oblique_mm(points) > 0)
    fissure = np.where(beside, np.minimum(fissure, np.abs(horizontal_mm(points))), fissure)
    scale = np.array(patient.size)
    mean = np.float32(scale.mean())
    fields = {
        "body": _body(coords, cavity, patient) * mean,
        "cavity": cavity * mean,
        "lung": lung * mean,
        "diaphragm": np.broadcast_to(dome, cavity.shape) * mean,
        "fissure": fissure * mean,
    }
    step = tuple(float(v) for v in STEP_MM * scale)
    origin = tuple(float(v) for v in LOW * scale)
    ready = {
        name: CoarseField(np.ascontiguousarray(v, dtype=np.float32), origin, step)  # type: ignore[arg-type]
        for name, v in fields.items()
    }
    return Chest(**ready, scale=scale)


def _without_pockets(lung: Array) -> Array:
    """The two lungs only: small holes that the mediastinum left between its organs are filled."""
    from scipy.ndimage import label

    pieces, _ = label(lung < 0)
    size = np.bincount(pieces.ravel())
    size[0] = 0
    kept = np.isin(pieces, np.argsort(size)[-2:][np.sort(size)[-2:] > 0.1 * size.max()])
    return np.where((lung < 0) & ~kept, np.float32(1.0), lung)


def _superellipse(x: Array, y: Array, a: Array, b: Array, power: float) -> Array:
    """First-order distance to |x/a|^p + |y/b|^p = 1."""
    u, v = np.abs(x / a), np.abs(y / b)
    f = (u**power + v**power) ** (1.0 / power) + 1e-6
    slope = np.hypot((u / f) ** (power - 1) / a, (v / f) ** (power - 1) / b)
    return (f - 1.0) / np.maximum(slope, 1e-3)


def _profile(z: Array, values: list[int]) -> Array:
    return np.interp(z, _Z, values).astype(np.float32)


def _cavity(coords: tuple[Array, Array, Array]) -> Array:
    x, y, z = coords
    a, b, c = (_profile(z, values) for values in (_HALF_WIDTH, _HALF_DEPTH, _CENTRE_Y))
    return _superellipse(x, y - c, a, b, 2.35)


def _one_lung(coords: tuple[Array, Array, Array], side: float) -> Array:
    """A tall half-ellipsoid with a rounded apex: it only bounds the lung above the hilum."""
    x, y, z = coords
    q = np.sqrt(
        ((x - side * 64.0) / 84.0) ** 2 + ((y - 24.0) / 128.0) ** 2 + (np.maximum(z + 30.0, 0) / 134.0) ** 2
    )
    return (q - 1.0) * 70.0


def _dome(coords: tuple[Array, Array, Array], patient: PatientParameters, rng: np.random.Generator) -> Array:
    """Height above the diaphragm: two domes that fall to the recesses."""
    x, y, z = coords
    shift = -patient.inspiration_mm
    noise = rng.normal(0.0, 3.0, 2)
    domes = [  # x, y, top, fall, half width; the middle one carries the heart
        (-62.0, -2.0, -104.0 + shift + noise[0], 0.0, 72.0),
        (64.0, -2.0, -113.0 + shift + noise[1], 0.0, 72.0),
        (12.0, -28.0, -113.0 + 0.35 * shift, -10.0, 62.0),
    ]
    sheet = None
    for cx, cy, top, extra, width in domes:
        r2 = ((x - cx) / width) ** 2 + ((y - cy) / 90.0) ** 2
        fall = 51.0 + extra + 11.0 * np.tanh((y - cy) / 35.0)
        one = top - fall * r2 / (0.65 + 0.35 * r2)
        sheet = one if sheet is None else -smooth_min(-sheet, -one, 14.0)
    assert sheet is not None
    return ((z - sheet) * 0.85).astype(np.float32)


def _body(coords: tuple[Array, Array, Array], cavity: Array, patient: PatientParameters) -> Array:
    """Skin surface: the cavity plus chest wall, wider at the shoulders, plus fat, breasts and arms."""
    x, y, z = coords
    fat = patient.fat_mm
    half_width = np.interp(z, [-200, -120, 0, 50, 80, 105, 135], [143, 146, 148, 158, 172, 176, 150])
    half_depth = np.interp(z, [-200, -60, 0, 50, 80, 105, 135], [108, 110, 108, 100, 90, 80, 70])
    centre = np.interp(z, [-200, -60, 0, 50, 80, 105, 135], [8, 8, 12, 18, 26, 32, 36])
    body = _superellipse(x, y - centre, half_width + fat, half_depth + 0.8 * fat, 2.5).astype(np.float32)
    body = smooth_min(body, cavity - 14.0 - 0.7 * fat, 20.0)
    if patient.breasts_mm:
        depth = patient.breasts_mm
        for side in (-1, 1):
            q = np.sqrt(
                ((x - side * 78) / 62) ** 2
                + ((y + 98 + 0.4 * fat) / (depth + 14)) ** 2
                + ((z + 42) / 58) ** 2
            )
            body = smooth_min(body, (q - 1) * (depth + 20), 18.0)
    groove = np.hypot(x, y - (132 + 0.75 * fat)) - 15.0  # the furrow over the spinous processes
    return smooth_max(body, -groove.astype(np.float32), 14.0)
