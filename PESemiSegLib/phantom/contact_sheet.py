"""Pictures of made-up patients side by side, as a reader would look at them, for the documentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from PESemiSegLib.phantom.opacities import CONSOLIDATION, GROUND_GLASS
from PESemiSegLib.phantom.patient import PhantomCase

TILE = 256
CTPA_WINDOW = (-150.0, 450.0)
LUNG_WINDOW = (-1200.0, 200.0)
MIP_WINDOW = (-100.0, 500.0)
_MIP_MM = 30.0
_RED = (255, 70, 60)
_LESIONS = ((GROUND_GLASS, (255, 170, 0)), (CONSOLIDATION, (0, 220, 140)))


def strip(case: PhantomCase) -> np.ndarray:
    """One row of pictures, uint8 (TILE, 5 TILE, 3).

    Axial at the hilum; axial with the exact clot outlined, where most of it is (else at the heart); coronal;
    coronal maximum-intensity slab; lung window. Of patients with a map of opacities: see `_opacity_strip`.
    """
    if case.opacities is not None:
        return _opacity_strip(case, case.opacities)
    spacing = case.grid.spacing_mm
    hilum = _slice_at(case, -18.0)
    best = int(case.clot_exact.sum(axis=(1, 2)).argmax()) if case.clot_exact.any() else _slice_at(case, -60.0)
    row = _row_at(case, -2.0)
    half = max(1, round(_MIP_MM / 2 / spacing[1]))
    slab = case.hu[:, max(0, row - half) : row + half].max(axis=1)
    tiles = [
        _tile(case.hu[hilum], CTPA_WINDOW, spacing[:2]),
        _tile(case.hu[best], CTPA_WINDOW, spacing[:2], outlines=[(case.clot_exact[best], _RED)]),
        _tile(case.hu[:, row][::-1], CTPA_WINDOW, (spacing[0], spacing[2])),
        _tile(slab[::-1], MIP_WINDOW, (spacing[0], spacing[2])),
        _tile(case.hu[_slice_at(case, -45.0)], LUNG_WINDOW, spacing[:2]),
    ]
    return np.concatenate(tiles, axis=1)


def _opacity_strip(case: PhantomCase, opacities: np.ndarray) -> np.ndarray:
    """In lung windows: axial where most lesion is, the same outlined, at the hilum, coronal; soft tissue."""
    spacing = case.grid.spacing_mm
    lesion = (opacities == GROUND_GLASS) | (opacities == CONSOLIDATION)
    best = int(lesion.sum(axis=(1, 2)).argmax()) if lesion.any() else _slice_at(case, -60.0)
    row = int(lesion.sum(axis=(0, 2)).argmax()) if lesion.any() else _row_at(case, 20.0)
    outlines = [(opacities[best] == label, colour) for label, colour in _LESIONS]
    tiles = [
        _tile(case.hu[best], LUNG_WINDOW, spacing[:2]),
        _tile(case.hu[best], LUNG_WINDOW, spacing[:2], outlines),
        _tile(case.hu[_slice_at(case, -18.0)], LUNG_WINDOW, spacing[:2]),
        _tile(case.hu[:, row][::-1], LUNG_WINDOW, (spacing[0], spacing[2])),
        _tile(case.hu[best], CTPA_WINDOW, spacing[:2]),
    ]
    return np.concatenate(tiles, axis=1)


def save_sheet(strips: list[np.ndarray], path: Path, labels: list[str] | None = None) -> None:
    """Stack strips into one PNG, optionally with a word in the corner of each. Raises OSError."""
    sheet = Image.fromarray(np.concatenate(strips, axis=0))
    draw = ImageDraw.Draw(sheet)
    for n, label in enumerate(labels or []):
        draw.text((6, n * TILE + 4), label, fill=(255, 255, 0))
    sheet.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def _slice_at(case: PhantomCase, z_mm: float) -> int:
    """The slice at a height above the carina."""
    return int(np.clip(round(case.grid.to_ijk((0.0, 0.0, z_mm))[2]), 0, len(case.hu) - 1))


def _row_at(case: PhantomCase, y_mm: float) -> int:
    return int(np.clip(round(case.grid.to_ijk((0.0, y_mm, 0.0))[1]), 0, case.hu.shape[1] - 1))


def _tile(
    plane: np.ndarray,
    window: tuple[float, float],
    spacing_mm: tuple[float, ...],
    outlines: Sequence[tuple[np.ndarray, tuple[int, int, int]]] = (),
) -> np.ndarray:
    """A plane (rows, columns) in a window, scaled to a square tile with true proportions, uint8 RGB."""
    low, high = window
    grey = np.clip((plane.astype(np.float32) - low) / (high - low), 0.0, 1.0) * 255
    scale = TILE / max(plane.shape[0] * spacing_mm[1], plane.shape[1] * spacing_mm[0])
    size = (round(plane.shape[1] * spacing_mm[0] * scale), round(plane.shape[0] * spacing_mm[1] * scale))
    picture = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC))
    rgb = np.repeat(picture[..., None], 3, axis=-1)
    for mask, colour in outlines:
        area = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size)) > 127
        rgb[ndimage.binary_dilation(area, iterations=2) & ~ndimage.binary_dilation(area)] = colour
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = rgb
    return tile
