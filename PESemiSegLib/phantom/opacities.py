"""Owns what fills the air of sick lungs: where ground glass and consolidations lie, before any voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.lungs import Chest
from PESemiSegLib.phantom.shapes import Array, ellipsoid

PATTERNS = ("none", "ground_glass", "mixed")
"""Healthy lungs; ground glass alone; ground glass and consolidations."""
GROUND_GLASS, CONSOLIDATION, HEALTHY_LUNG = 1, 2, 3
"""Label values of the exact map."""

_CANDIDATES = 6000


@dataclass(frozen=True)
class Opacity:
    """One lesion (mm): an ellipsoid along the pleura, cut by it and frayed by noise.

    label: GROUND_GLASS or CONSOLIDATION; hu: its tissue; edge_mm: over how much it fades; fray_mm: SD of the
    noise on its outline; paving: 0..1, how much thickened septa show in ground glass.
    """

    label: int
    centre: Array
    radii: Array
    frame: Array
    hu: float
    edge_mm: float
    fray_mm: float
    paving: float = 0.0

    @property
    def reach_mm(self) -> float:
        """Half the side of a box that holds all of it."""
        return float(self.radii.max() + 3.0 * self.fray_mm + self.edge_mm)

    def sdf(self, coords: tuple[Array, Array, Array]) -> Array:
        """Distance to the smooth ellipsoid, mm, negative inside; coords as `Axes.at` gives them."""
        return ellipsoid(coords, self.centre, self.radii, self.frame)


@dataclass(frozen=True)
class Opacities:
    """The lesions of one patient, ground glass first; `seed` is that of their texture."""

    pattern: str
    severity: float  # 0..1
    lesions: tuple[Opacity, ...]
    seed: int


def draw_opacities(pattern: str, chest: Chest, rng: np.random.Generator) -> Opacities:
    """Draw the lesions of a patient: several, on both sides, mostly at the pleura, the back and the bases.

    Raises ConfigError for a pattern that is not in PATTERNS.
    """
    if pattern not in PATTERNS:
        raise ConfigError(f"there is no pattern of opacities {pattern!r}: choose {', '.join(PATTERNS)}")
    seed, severity = int(rng.integers(2**63)), float(rng.beta(1.5, 2.0))
    if pattern == "none":
        return Opacities(pattern, 0.0, (), seed)
    places = _places(chest, rng)
    count = 3 + rng.poisson(1.5 + 7.0 * severity)
    hazes = [_ground_glass(chest, places(), severity, rng) for _ in range(count)]
    solids = []
    for _ in range(2 + rng.poisson(1.0 + 3.0 * severity) if pattern == "mixed" else 0):
        inside = rng.random() < 0.6  # the dense heart of a haze; otherwise a focus of its own
        host = hazes[int(rng.integers(len(hazes)))]
        solids.append(_consolidation(chest, host.centre if inside else places(), severity, rng))
        if not inside:
            hazes.append(_halo(solids[-1], rng))
    return Opacities(pattern, round(severity, 3), (*hazes, *solids), seed)


def _places(chest: Chest, rng: np.random.Generator) -> Callable[[], Array]:
    """A function that draws a place in the lungs, (3,) mm, each on the other side than the one before."""
    low, high = np.array([-130.0, -95.0, -160.0]) * chest.scale, np.array([130.0, 115.0, 85.0]) * chest.scale
    points = rng.uniform(low, high, (_CANDIDATES, 3))
    depth = -chest.lung.at(points)
    weight = np.exp(-np.maximum(depth - 4.0, 0.0) / 9.0) + 0.06  # towards the pleura
    weight *= np.where(chest.cavity.at(points) > -14.0, 1.0, 0.25)  # the chest wall's, not the mediastinum's
    weight *= np.exp(points[:, 1] / 45.0) * np.exp(-points[:, 2] / 170.0)  # back and bases
    weight[depth < 2.0] = 0.0
    side = 1.0 if rng.random() < 0.5 else -1.0

    def draw() -> Array:
        nonlocal side
        side = -side if rng.random() < 0.8 else side
        chance = weight * (points[:, 0] * side > 0)
        return points[rng.choice(len(points), p=chance / chance.sum())]

    return draw


def _frame(chest: Chest, place: Array, rng: np.random.Generator) -> Array:
    """Axes (rows) of a lesion: the first points to the pleura, the others lie along it, turned by chance."""
    steps = 4.0 * np.eye(3)
    normal = chest.lung.at(place + steps) - chest.lung.at(place - steps) + rng.normal(0.0, 1.0, 3)
    frame, _ = np.linalg.qr(np.column_stack([normal, rng.standard_normal((3, 2))]))
    return frame.T


def _ground_glass(chest: Chest, place: Array, severity: float, rng: np.random.Generator) -> Opacity:
    along = rng.uniform(11.0, 25.0) * (0.7 + 1.3 * severity)
    radii = along * np.array([rng.uniform(0.45, 0.8), rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.3)])
    return Opacity(
        label=GROUND_GLASS,
        centre=place,
        radii=radii,
        frame=_frame(chest, place, rng),
        hu=float(rng.uniform(-700.0, -400.0)),
        edge_mm=float(rng.uniform(5.0, 11.0)),
        fray_mm=float(0.22 * radii.min() + 1.0),
        paving=float(max(0.0, rng.uniform(-0.6, 1.0))),
    )


def _consolidation(chest: Chest, place: Array, severity: float, rng: np.random.Generator) -> Opacity:
    along = rng.uniform(9.0, 20.0) * (0.8 + 1.0 * severity)
    radii = along * np.array([rng.uniform(0.5, 0.8), rng.uniform(0.8, 1.4), rng.uniform(0.8, 1.4)])
    return Opacity(
        label=CONSOLIDATION,
        centre=place + rng.normal(0.0, 3.0, 3),
        radii=radii,
        frame=_frame(chest, place, rng),
        hu=float(rng.uniform(-50.0, 60.0)),
        edge_mm=float(rng.uniform(1.5, 4.0)),
        fray_mm=float(0.24 * radii.min() + 0.8),
    )


def _halo(solid: Opacity, rng: np.random.Generator) -> Opacity:
    """The ground glass around a consolidation."""
    radii = solid.radii + rng.uniform(3.0, 9.0)
    return Opacity(
        GROUND_GLASS,
        solid.centre + rng.normal(0.0, 2.0, 3),
        radii,
        solid.frame,
        float(rng.uniform(-650.0, -420.0)),
        float(rng.uniform(5.0, 9.0)),
        float(0.2 * radii.min() + 1.0),
    )
