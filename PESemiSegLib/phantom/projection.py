"""A coarse parallel-beam scanner: line integrals through the patient and their backprojection."""

import numpy as np
import scipy.fft
import scipy.sparse

WATER_PER_MM = 0.0195
"""Attenuation of water at the effective energy of a 120 kVp beam."""


class Projector:
    """Pixel-driven parallel projections of square images and their (filtered) backprojection.

    size: pixels a side; pixel_mm: their size; views: angles over 180 degrees. View v measures along direction
    ``s = x cos(a) + y sin(a)``, a = pi v / views.
    """

    def __init__(self, size: int, pixel_mm: float, views: int = 64) -> None:
        self.size, self.pixel_mm, self.views = size, pixel_mm, views
        self.bins = int(np.ceil(size * np.sqrt(2.0))) + 3
        centred = np.arange(size) - (size - 1) / 2.0
        y, x = (a.ravel() for a in np.meshgrid(centred, centred, indexing="ij"))
        angles = np.pi * np.arange(views) / views
        position = x[:, None] * np.cos(angles) + y[:, None] * np.sin(angles) + (self.bins - 1) / 2.0
        low = np.floor(position).astype(np.int32)
        share = (position - low).astype(np.float32)
        column = low + (np.arange(views, dtype=np.int32) * self.bins)
        columns = np.stack([column, column + 1], axis=-1).ravel()
        weights = np.stack([1.0 - share, share], axis=-1).ravel()
        starts = np.arange(size * size + 1, dtype=np.int64) * (2 * views)
        shape = (size * size, views * self.bins)
        self._to_image = scipy.sparse.csr_array((weights, columns, starts), shape=shape)
        self._to_sinogram = self._to_image.T

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Line integrals (n, views, bins) of images (n, size, size), in image unit times mm."""
        flat = images.reshape(len(images), -1).T.astype(np.float32)
        return (self._to_sinogram @ flat).T.reshape(-1, self.views, self.bins) * np.float32(self.pixel_mm)

    def mean_back(self, sinograms: np.ndarray, views: slice | np.ndarray) -> np.ndarray:
        """Mean over the chosen views of the value that each view shows at each pixel: (n, size, size)."""
        chosen = np.zeros_like(sinograms)
        chosen[:, views] = sinograms[:, views]
        count = np.arange(self.views)[views].size
        flat = self._to_image @ chosen.reshape(len(chosen), -1).T
        return flat.T.reshape(-1, self.size, self.size) / np.float32(count)

    def filtered_back(self, sinograms: np.ndarray) -> np.ndarray:
        """Filtered backprojection (ramp with a Hann roll-off) of line integrals: images (n, size, size)."""
        padded = scipy.fft.next_fast_len(2 * self.bins, real=True)
        frequency = scipy.fft.rfftfreq(padded, self.pixel_mm)
        ramp = frequency * (0.5 + 0.5 * np.cos(np.pi * frequency / frequency[-1]))
        spectrum = scipy.fft.rfft(sinograms, padded, axis=-1) * ramp.astype(np.float32)
        filtered = scipy.fft.irfft(spectrum, padded, axis=-1)[..., : self.bins].astype(np.float32)
        return np.float32(np.pi) * self.mean_back(np.ascontiguousarray(filtered), slice(None))


def upsampling_matrix(fine: int, coarse: int) -> np.ndarray:
    """(fine, coarse) float32 of linear interpolation between the centres of blocks; rows sum to 1."""
    position = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    low = np.minimum(position.astype(int), coarse - 2)
    matrix = np.zeros((fine, coarse), np.float32)
    matrix[np.arange(fine), low] = 1.0 - (position - low)
    matrix[np.arange(fine), low + 1] = position - low
    return matrix


def block_mean(volume: np.ndarray, step: int, factor: int) -> np.ndarray:
    """Means over blocks of ``step`` slices and ``factor`` x ``factor`` pixels.

    Rows and columns that do not fill a block are cut; the last slab may hold fewer slices.
    """
    slices, rows, columns = volume.shape
    rows, columns = rows - rows % factor, columns - columns % factor
    planes = []
    for start in range(0, slices, step):
        slab = volume[start : start + step, :rows, :columns].mean(axis=0, dtype=np.float32)
        planes.append(slab.reshape(rows // factor, factor, columns // factor, factor).mean(axis=(1, 3)))
    return np.stack(planes).astype(np.float32)
