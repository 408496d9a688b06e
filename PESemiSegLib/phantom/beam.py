"""What the beam meets on its way: hardening, streaks beside dense contrast, and where the noise is strong."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from PESemiSegLib.phantom.kernels import sector_of
from PESemiSegLib.phantom.landmarks import Landmarks
from PESemiSegLib.phantom.projection import WATER_PER_MM, Projector, block_mean
from PESemiSegLib.phantom.scanner import Acquisition

_STEP_MM = 4.0
_SHADING_PIXELS = 128
_NOISE_PIXELS = 32
_CUP_PER_HU = 3.0e-4
"""Of the water path squared; a 300 mm water cylinder cups by about 1 HU."""
_HARDENING = 0.10
_DENSE_FROM_HU = 300.0
_STREAK_FROM_HU = 450.0
_STREAK_RADIUS_MM = 18.0
_STREAK_INCONSISTENCY = 0.35
_REFERENCE_PATH = 4.2
_DOSE_EXPONENT = 0.5
"""Tube current modulation evens out about half of the log attenuation."""
_GAIN_LIMITS = (0.6, 2.2)


@dataclass(frozen=True)
class ScanField:
    """What the coarse scan says about each place: (coarse z, size, size) maps."""

    artefact_hu: np.ndarray
    noise_gain: tuple[np.ndarray, ...]
    step: int
    slices: int

    def _weights(self, k: int) -> tuple[int, int, float]:
        position = np.clip((k + 0.5) / self.step - 0.5, 0, len(self.artefact_hu) - 1)
        low = int(position)
        return low, min(low + 1, len(self.artefact_hu) - 1), float(position - low)

    def artefact_at(self, k: int) -> np.ndarray:
        """The coarse shading of slice k in HU."""
        low, high, share = self._weights(k)
        return (1.0 - share) * self.artefact_hu[low] + share * self.artefact_hu[high]

    def gains_at(self, k: int) -> list[np.ndarray]:
        """The coarse noise gain of slice k, one map a sector of views."""
        low, high, share = self._weights(k)
        return [(1.0 - share) * gain[low] + share * gain[high] for gain in self.noise_gain]


def scan_field(
    hu: np.ndarray,
    acquisition: Acquisition,
    sectors: int,
    rng: np.random.Generator,
    landmarks: Landmarks | None,
) -> ScanField:
    """Project ``hu`` (z, y, x) coarsely and derive the shading in HU and the local SD of the noise, in HU."""
    step = max(1, round(_STEP_MM / acquisition.increment_mm))
    factor = max(1, round(acquisition.matrix / _SHADING_PIXELS))
    coarse = block_mean(hu, step, factor)
    shading = _shading(coarse, acquisition, factor, step, rng, landmarks)
    coarser = max(1, round(coarse.shape[1] / _NOISE_PIXELS))
    gains = _noise_gains(block_mean(coarse, 1, coarser), acquisition, factor * coarser, sectors)
    scale = acquisition.noise_hu / np.sqrt(acquisition.thickness_mm)
    return ScanField(shading, tuple(np.float32(scale) * gain for gain in gains), step, len(hu))


def _shading(
    coarse: np.ndarray,
    acquisition: Acquisition,
    factor: int,
    step: int,
    rng: np.random.Generator,
    landmarks: Landmarks | None,
) -> np.ndarray:
    """Cupping, dark bands between dense objects and streaks from pulsating contrast, in HU."""
    projector = Projector(coarse.shape[1], acquisition.pixel_mm * factor)
    water = np.maximum(coarse + 1000.0, 0.0) / 1000.0
    path = WATER_PER_MM * projector.forward(water)
    dense = np.maximum(coarse - _DENSE_FROM_HU, 0.0) / 1000.0
    dense_path = WATER_PER_MM * projector.forward(dense)
    error = _CUP_PER_HU * acquisition.cup_hu * path * (_REFERENCE_PATH - path)  # right for medium paths
    error -= _HARDENING * acquisition.streak * dense_path * (dense_path + 0.1 * path)
    if landmarks is not None:
        streaking = _near_svc(coarse, acquisition, factor, step, landmarks)
        streaking *= np.maximum(coarse - _STREAK_FROM_HU, 0.0) / 1000.0
        wobble = ndimage.gaussian_filter1d(rng.standard_normal(path.shape[:2]), 0.8, axis=1, mode="wrap")
        wobble *= _STREAK_INCONSISTENCY * acquisition.streak / max(float(wobble.std()), 1e-6)
        error += WATER_PER_MM * projector.forward(streaking) * wobble[..., None].astype(np.float32)
    return projector.filtered_back(error) * np.float32(1000.0 / WATER_PER_MM)


def _near_svc(
    coarse: np.ndarray, acquisition: Acquisition, factor: int, step: int, landmarks: Landmarks
) -> np.ndarray:
    """Weight (coarse z, y, x), 1 on the axis of the vena cava, falling to 0 beyond its wall."""
    middle = np.minimum(np.arange(len(coarse)) * step + step // 2, len(landmarks.svc_yx) - 1)
    y, x = landmarks.svc_yx[middle].T[..., None, None]
    place = (np.arange(coarse.shape[1]) + 0.5) * factor - 0.5
    square = (place[:, None] - y) ** 2 + (place - x) ** 2
    weight = np.exp(-square * (acquisition.pixel_mm / _STREAK_RADIUS_MM) ** 2)
    return np.nan_to_num(weight, nan=0.0).astype(np.float32)


def _noise_gains(coarse: np.ndarray, acquisition: Acquisition, factor: int, sectors: int) -> list[np.ndarray]:
    """SD of the noise relative to the reference patient, (coarse z, y, x), for the views of each sector."""
    projector = Projector(coarse.shape[1], acquisition.pixel_mm * factor)
    path = WATER_PER_MM * projector.forward(np.maximum(coarse + 1000.0, 0.0) / 1000.0)
    variance = np.exp(_DOSE_EXPONENT * (path - _REFERENCE_PATH))
    sector = sector_of(np.pi * np.arange(projector.views) / projector.views, sectors)
    gains = [np.sqrt(projector.mean_back(variance, sector == s)) for s in range(sectors)]
    return [np.clip(gain, *_GAIN_LIMITS).astype(np.float32) for gain in gains]
