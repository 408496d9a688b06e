"""The scanners of the made-up hospitals, and the settings that one patient's scan is drawn with."""

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.kernels import Kernel

SOFT = Kernel("PHANTOM-SOFT", sigma_mm=0.65)
MEDIUM = Kernel("PHANTOM-MEDIUM", sigma_mm=0.60, overshoot=0.8)
SHARP = Kernel("PHANTOM-SHARP", sigma_mm=0.55, overshoot=1.8)

_IODINE_GAIN_KVP = ((80.0, 1.60), (100.0, 1.25), (120.0, 1.00), (140.0, 0.87))
_MAX_THICKNESS_MM = 3.0


@dataclass(frozen=True)
class Preset:
    """The size of the images: square ``matrix``, slice ``increment_mm``, ``max_slices`` (None: the lungs)."""

    matrix: int
    increment_mm: float
    max_slices: int | None = None


PRESETS = {
    "ci": Preset(192, 3.0, 64),
    "medium": Preset(384, 2.0),
    "standard": Preset(512, 1.0),
}


@dataclass(frozen=True)
class Scanner:
    """What a hospital's protocol leaves to chance from patient to patient: (low, high) ranges and shares.

    noise_hu is the SD in the centre of a medium patient at 1 mm slices; thickness_ratio is thickness over
    increment; motion_share is the share with visible heart motion; offset_mm the SD of the table's height.
    """

    name: str
    kernel: Kernel
    kvp: tuple[int, ...]
    noise_hu: tuple[float, float]
    thickness_ratio: tuple[float, float]
    fov_mm: tuple[float, float]
    cup_hu: tuple[float, float] = (2.0, 8.0)
    streak: tuple[float, float] = (0.5, 1.5)
    motion_share: float = 0.25
    offset_mm: float = 8.0

    def draw(self, preset: Preset, rng: np.random.Generator) -> "Acquisition":
        """One patient's settings."""
        kvp = int(rng.choice(self.kvp))
        ratio = min(rng.uniform(*self.thickness_ratio), max(1.0, _MAX_THICKNESS_MM / preset.increment_mm))
        motion = rng.uniform(1.0, 3.0) if rng.random() < self.motion_share else 0.0
        return Acquisition(
            scanner=self.name,
            kernel=self.kernel,
            kvp=kvp,
            matrix=preset.matrix,
            fov_mm=round(rng.uniform(*self.fov_mm)),
            increment_mm=preset.increment_mm,
            thickness_mm=round(preset.increment_mm * ratio, 2),
            noise_hu=float(rng.uniform(*self.noise_hu)),
            cup_hu=float(rng.uniform(*self.cup_hu)),
            streak=float(rng.uniform(*self.streak)),
            motion_mm=float(motion),
            offset_mm=(float(rng.normal(0, self.offset_mm / 2)), float(rng.normal(0, self.offset_mm))),
        )


@dataclass(frozen=True)
class Acquisition:
    """The settings of one scan. offset_mm: (x, y) of the image's centre from that of the chest."""

    scanner: str
    kernel: Kernel
    kvp: int
    matrix: int
    fov_mm: float
    increment_mm: float
    thickness_mm: float
    noise_hu: float
    cup_hu: float = 5.0
    streak: float = 1.0
    motion_mm: float = 0.0
    offset_mm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not 1.0 <= self.thickness_mm / self.increment_mm <= 2.0:
            raise ConfigError("slice thickness must be 1 to 2 times the increment: change thickness_mm")
        if not 80 <= self.kvp <= 140:
            raise ConfigError("the tube voltage must be 80 to 140 kVp: change kvp")

    @property
    def pixel_mm(self) -> float:
        return self.fov_mm / self.matrix

    @property
    def iodine_gain(self) -> float:
        """How much denser iodine shows than at 120 kVp: 1.6 at 80 kVp."""
        kvps, gains = zip(*_IODINE_GAIN_KVP, strict=True)
        return float(np.interp(self.kvp, kvps, gains))
