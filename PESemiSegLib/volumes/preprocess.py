"""What a network sees of a slice, in training and in use alike: the window, and in-plane resampling."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

SPACING_TOLERANCE = 0.05  # in-plane spacing this near to the network's is used as it is

Float32Array = npt.NDArray[np.float32]


def window(hu: npt.ArrayLike, hu_window: tuple[float, float]) -> Float32Array:
    """Map `hu_window` to [-1, 1], clipped; a float32 copy. The fixed affine map of 1A.6."""
    return window_in_place(np.array(hu, dtype=np.float32), hu_window)


def window_in_place(image: Float32Array, hu_window: tuple[float, float]) -> Float32Array:
    """`window` for HU that are float32 already and no longer needed; returns `image`."""
    low, high = hu_window
    np.clip(image, low, high, out=image)
    image -= (low + high) / 2
    image /= (high - low) / 2
    return image


def spacing_differs(spacing_mm: Iterable[float], wanted_mm: float) -> bool:
    """Whether slices of this in-plane spacing (x, y) are resampled to the wanted one."""
    return any(abs(mm / wanted_mm - 1.0) > SPACING_TOLERANCE for mm in spacing_mm)


def resample_matrix(size_in: int, size_out: int) -> Float32Array:
    """Weights (size_out, size_in) float32 of a linear resampling of one axis, pixel areas aligned.

    When it shrinks, the triangle is as wide as an output pixel, so that noise and edges do not alias; rows
    sum to 1, also at the borders.
    """
    scale = size_in / size_out
    support = max(1.0, scale)
    centres = (np.arange(size_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(size_in)[None, :] - centres[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)
