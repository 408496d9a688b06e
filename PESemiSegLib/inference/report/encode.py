"""Owns the way from arrays to what a page can hold: data URIs, the confidence colours, SVG paths."""

from __future__ import annotations

import base64
import io

import numpy as np

# Viridis at nine even steps: even to the eye, readable without colour vision, and apart from grey.
CONFIDENCE_RGB = (
    *((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)),
    *((39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)),
)


def windowed(hu: np.ndarray, width: float, level: float) -> np.ndarray:
    """HU in a display window as uint8 grey: black at `level - width / 2`, white at `level + width / 2`."""
    low = level - width / 2
    return (np.clip((hu.astype(np.float32) - low) / width, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def confidence_colours(confidence: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA uint8 (rows, columns, 4) of a confidence plane in [0, 1]; `alpha` is 0 to 1."""
    steps = np.linspace(0.0, 1.0, len(CONFIDENCE_RGB))
    anchors = np.asarray(CONFIDENCE_RGB, dtype=float)
    channels = [np.interp(confidence, steps, anchors[:, c]) for c in range(3)]
    return np.stack([*channels, alpha * 255.0], axis=-1).round().astype(np.uint8)


def resized(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A plane of HU resampled to `shape` (rows, columns): bicubic, with anti-aliasing where it shrinks."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def png_uri(pixels: np.ndarray) -> str:
    """A PNG data URI of uint8 grey (rows, columns) or RGBA (rows, columns, 4)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def outline_path(mask: np.ndarray, scale: tuple[float, float]) -> str:
    """SVG path round a boolean plane; `scale` is the size (rows, columns) of one voxel in picture units."""
    from skimage.measure import find_contours

    parts = []
    for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        # find_contours counts from voxel centres and the padding shifts by one; the picture from its corner.
        rows_columns = (contour - 0.5) * scale
        points = " ".join(f"{x:.1f},{y:.1f}" for y, x in rows_columns[:-1])
        parts.append(f"M{points}Z")
    return "".join(parts)
