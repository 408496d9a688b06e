"""Reconstruction kernels: how sharp a CT image is (MTF) and the colour of its noise (NPS)."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

_NPS_FLOOR_PER_MM = 0.02
"""Keeps a little power at the lowest frequencies, as measured spectra have (a pure ramp would have none)."""


@dataclass(frozen=True)
class Kernel:
    """A rotationally symmetric reconstruction kernel.

    ``mtf(f) = exp(-u) (1 + overshoot u)`` with ``u = 2 (pi sigma f)^2``: a Gaussian blur of ``sigma_mm``,
    minus its own Laplacian. ``overshoot`` 0 is soft, 1 flat at the origin, above 1 edges ring visibly.
    """

    name: str
    sigma_mm: float
    overshoot: float = 0.0

    def mtf(self, frequency_per_mm: np.ndarray) -> np.ndarray:
        """Modulation transfer at radial frequencies in 1/mm; 1 at the origin."""
        u = 2.0 * (np.pi * self.sigma_mm * np.asarray(frequency_per_mm)) ** 2
        return np.exp(-u) * (1.0 + self.overshoot * u)

    def nps(self, frequency_per_mm: np.ndarray) -> np.ndarray:
        """Noise power, up to a factor: the ramp of filtered backprojection times the squared MTF."""
        ramp = np.hypot(frequency_per_mm, _NPS_FLOOR_PER_MM)
        return ramp * self.mtf(frequency_per_mm) ** 2

    def nps_peak_per_mm(self) -> float:
        """The frequency at which the noise is strongest, 1/mm."""
        frequencies = np.linspace(0.0, 2.0, 4001)
        return float(frequencies[np.argmax(self.nps(frequencies))])


def radial_frequency(size: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(f, angle) on the rfft2 grid of a square image: 1/mm, and the direction in [0, pi)."""
    fy = np.fft.fftfreq(size, pixel_mm)[:, None]
    fx = np.fft.rfftfreq(size, pixel_mm)[None, :]
    return np.hypot(fy, fx), np.arctan2(fy, fx) % np.pi


def sector_of(angle: np.ndarray, sectors: int) -> np.ndarray:
    """Which of ``sectors`` equal wedges of [0, pi) an angle falls in; the first is centred on 0."""
    return np.floor((angle + np.pi / (2 * sectors)) / np.pi * sectors).astype(int) % sectors


class NoiseSource:
    """Slices of unit-variance coloured noise, apart for each sector of projection angles.

    By the projection-slice theorem the noise of the views around one angle fills one wedge of the image's
    Fourier plane. Keeping the wedges apart lets each be weighted by the attenuation of its own views, which
    is what makes the noise of a chest streak from shoulder to shoulder.

    ``thickness_ratio`` (slice thickness / increment, 1 to 2) sets the correlation of neighbouring slices to
    that of overlapping box profiles, ``1 - 1 / ratio``.
    """

    def __init__(
        self,
        kernel: Kernel,
        size: int,
        pixel_mm: float,
        sectors: int,
        thickness_ratio: float,
        rng: np.random.Generator,
    ) -> None:
        frequency, angle = radial_frequency(size, pixel_mm)
        power = kernel.nps(frequency)
        power[0, 0] = 0.0
        weight = np.full(power.shape, 2.0)  # each stored column stands for two of the full plane ...
        weight[:, 0] = 1.0  # ... but the first, and for an even size the last
        if size % 2 == 0:
            weight[:, -1] = 1.0
        power /= (power * weight).sum()
        # of a self-conjugate column irfft2 keeps only the real part of what it is given, hence weight, not 2
        amplitude = size * size * np.sqrt(power * weight) / np.where(weight == 2.0, 2.0, 1.0)
        sector = sector_of(angle, sectors)
        self._size, self._rng = size, rng
        self._amplitudes = [np.where(sector == s, amplitude, 0.0).astype(np.float32) for s in range(sectors)]
        correlation = 1.0 - 1.0 / thickness_ratio
        # two taps (1, t) correlate neighbours by t / (1 + t^2)
        root = np.sqrt(max(0.0, 1.0 - 4.0 * correlation**2))
        tap = (1.0 - root) / (2.0 * correlation) if correlation > 0 else 0.0
        self._taps = np.array([1.0, tap], np.float32) / np.float32(np.hypot(1.0, tap))
        self._previous = self._white()

    def _white(self) -> np.ndarray:
        shape = (self._size, self._size // 2 + 1, 2)
        return self._rng.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0]

    def next_slice(self, sector_sd: list[np.ndarray]) -> np.ndarray:
        """The noise of the next slice (y, x), float32: the wedges, each times its ``sector_sd[s]``, added.

        A sector SD is the SD that the image would have if all views were like those of the sector.
        """
        fresh = self._white()
        spectrum = self._taps[0] * fresh + self._taps[1] * self._previous
        self._previous = fresh
        shape = (self._size, self._size)
        total = np.zeros(shape, np.float32)
        for amplitude, sd in zip(self._amplitudes, sector_sd, strict=True):
            total += sd * scipy.fft.irfft2(spectrum * amplitude, s=shape)
        return total
