"""Another breath: the small, smooth shift of the chest between two scans of one patient."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Breath:
    """How far the chest moved: the diaphragm along z (+: up) and the front wall along y (+: back), in mm.

    The motion is largest at the diaphragm and fades out towards the apex of the lungs.
    """

    diaphragm_mm: float
    wall_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Breath":
        """A breath hold that differs by at most 5 mm."""
        return cls(float(rng.uniform(-5.0, 5.0)), float(rng.uniform(-1.5, 1.5)))

    def share(self, z_mm: np.ndarray, z_range_mm: tuple[float, float]) -> np.ndarray:
        """Share of the motion at heights z: 1 at the bottom of the range, 0 at the top, smooth between."""
        t = np.clip((z_mm - z_range_mm[0]) / (z_range_mm[1] - z_range_mm[0]), 0.0, 1.0)
        return 1.0 - t * t * (3.0 - 2.0 * t)

    def apply(
        self, volume: np.ndarray, z_mm: np.ndarray, y_mm: np.ndarray, z_range_mm: tuple[float, float]
    ) -> np.ndarray:
        """The volume (z, y, x), float32, after the breath; z_mm, y_mm: where its planes and rows lie."""
        share = self.share(z_mm, z_range_mm)
        back, front = float(y_mm[-1]), float(y_mm[0])
        lever = np.clip((back - y_mm) / (back - front), 0.0, 1.0)  # the spine rests, the front wall moves
        source_z = np.interp(z_mm - self.diaphragm_mm * share, z_mm, np.arange(len(z_mm)))
        moved = np.empty_like(volume)
        for k, position in enumerate(source_z):
            low = min(int(position), len(volume) - 2)
            plane = volume[low] + np.float32(position - low) * (volume[low + 1] - volume[low])
            rows = np.interp(y_mm - self.wall_mm * share[k] * lever, y_mm, np.arange(len(y_mm)))
            first = np.minimum(rows.astype(int), len(y_mm) - 2)
            part = (rows - first).astype(np.float32)[:, None]
            moved[k] = plane[first] + part * (plane[first + 1] - plane[first])
        return moved
