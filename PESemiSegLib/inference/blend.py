"""Owns the putting together of what windows say: the blended map, and the map of the deepest cells."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.inference.windows import STRIDE, Place, Windows


class Blend:
    """The weighted mean of what windows say, finished from below while higher windows are still to come.

    Only as many slices as a window is deep are held as sums; finished ones are kept as float16.
    """

    def __init__(self, windows: Windows) -> None:
        _, *plane = windows.shape
        self._weights = [axis.weights for axis in windows.axes]
        self.mean = np.zeros(windows.shape, dtype=np.float16)
        self._sum = np.zeros((windows.crop[0], *plane), dtype=np.float32)
        self._weight = np.zeros_like(self._sum)
        self._base = 0

    def add(self, place: Place, values: np.ndarray) -> None:
        """Take one window (z, y, x); places come upwards."""
        self._finish(place[0])
        here = (slice(None), *(slice(a, a + n) for a, n in zip(place[1:], values.shape[1:], strict=True)))
        z, y, x = self._weights
        for n, share in enumerate(z):  # slice by slice: no copy of the window is made
            weight = share * y[:, None] * x
            self._sum[n][here[1:]] += weight * values[n]
            self._weight[n][here[1:]] += weight

    def finish(self) -> np.ndarray:
        """The mean (z, y, x) float16 of the whole grid."""
        self._finish(self._base + len(self._sum))
        return self.mean

    def _finish(self, upto: int) -> None:
        """Slices below `upto` are complete: keep their mean and make room."""
        done = min(upto - self._base, len(self._sum))
        if done <= 0:
            return
        top = min(self._base + done, len(self.mean)) - self._base
        np.divide(self._sum[:top], self._weight[:top], out=self._sum[:top], where=self._weight[:top] > 0)
        self.mean[self._base : self._base + top] = self._sum[:top]
        for held in (self._sum, self._weight):
            held[: len(held) - done] = held[done:].copy()
            held[len(held) - done :] = 0.0
        self._base += done


class Cells:
    """The weighted mean of the windows' maps on the cells of the deepest map, which coincide."""

    def __init__(self, windows: Windows) -> None:
        shape = tuple(size // STRIDE for size in windows.shape)
        self._sum, self._weight = np.zeros(shape), np.zeros(shape)
        z, y, x = (axis.weights.reshape(-1, STRIDE).mean(1) for axis in windows.axes)
        self._own = z[:, None, None] * y[:, None] * x

    def add(self, place: Place, seen: np.ndarray) -> None:
        """Take one window's map (cells z, y, x)."""
        first = [start // STRIDE for start in place]
        here = tuple(slice(a, a + n) for a, n in zip(first, seen.shape, strict=True))
        self._sum[here] += self._own * seen
        self._weight[here] += self._own

    def mean(self) -> np.ndarray:
        """float32 (cells z, y, x); 0 where no window was counted."""
        return np.divide(
            self._sum, self._weight, out=np.zeros_like(self._sum), where=self._weight > 0
        ).astype(np.float32)
