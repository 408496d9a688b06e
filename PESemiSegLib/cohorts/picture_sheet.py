"""The picture sheet of augmentation: each change at the two ends of its range, in pictures and HU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from PESemiSegLib.atomic import whole_file
from PESemiSegLib.cohorts.augment import (
    NO_AUGMENTATION,
    AugmentConfig,
    change_intensity,
    crop_transform,
    warp,
)
from PESemiSegLib.cohorts.cache import resample_mask, resample_slices
from PESemiSegLib.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HU_WINDOW = (-160.0, 240.0)
_PIXEL_MM = 0.9
_CROP = 192
_AIR_HU = -1024
_LEVELS = ((-1100.0, -600.0, "lung"), (0.0, 100.0, "soft tissue"), (180.0, 500.0, "contrast"))


@dataclass(frozen=True)
class _Row:
    """One augmentation: its name, the settings that are on, and how its two ends are called."""

    name: str
    on: tuple[str, ...]
    ends: tuple[str, str]


class _End:
    """Random numbers that always are an end of their range: so the sampler's own code is shown."""

    def __init__(self, end: int, seed: int) -> None:
        self._end = end
        self._noise = np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        return (low, high)[self._end]

    def random(self) -> float:
        return 0.0

    def standard_normal(self, *args: Any, **kwargs: Any) -> Any:
        return self._noise.standard_normal(*args, **kwargs)


def sheet(
    plane: np.ndarray,
    mask: np.ndarray | None,
    pixel_mm: float,
    *,
    config: AugmentConfig | None = None,
    seed: int = 0,
) -> Figure:
    """A figure: one augmentation a row, at either end of its range, and what it changed.

    plane: int16 HU (y, x); mask: alike or None; pixel_mm: its pixel size. The last row shows random draws of
    everything together, as training sees them.
    """
    from matplotlib.figure import Figure

    config = config or AugmentConfig()
    source = resample_slices(plane[None], (pixel_mm, pixel_mm), _PIXEL_MM)[0]
    marks = np.zeros_like(source, np.uint8)
    if mask is not None:
        marks = resample_mask(mask[None], (pixel_mm, pixel_mm), _PIXEL_MM)[0]
    centre = ((source.shape[0] - 1) / 2.0, (source.shape[1] - 1) / 2.0)
    rows = _rows(config)
    figure = Figure(figsize=(9.6, 2.55 * (len(rows) + 1)), layout="constrained")
    axes = figure.subplots(len(rows) + 1, 4)
    before = _augmented(source, marks, centre, NO_AUGMENTATION, np.random.default_rng(seed))
    for row, line in zip(rows, axes, strict=False):
        alone = replace(NO_AUGMENTATION, **{name: getattr(config, name) for name in row.on})
        least, most = (
            _augmented(source, marks, centre, alone, cast(np.random.Generator, _End(end, seed)))
            for end in (0, 1)
        )
        _show(line[0], before, "as it is" if row is rows[0] else "")
        _show(line[1], least, row.ends[0], _words(before[0], least[0], row))
        _show(line[2], most, row.ends[1], _words(before[0], most[0], row))
        _compare(line[3], before, most, row)
        line[0].set_ylabel(row.name, fontsize=9)
    rng = np.random.default_rng(seed)
    for number, axis in enumerate(axes[-1]):
        _show(axis, _augmented(source, marks, centre, config, rng), f"draw {number + 1}")
    axes[-1][0].set_ylabel("all together", fontsize=9)
    low, high = HU_WINDOW
    figure.suptitle(
        f"Augmentation of a slice, window {low:.0f} to {high:.0f} HU, mask in red. Research use only.",
        fontsize=10,
    )
    return figure


def save_sheet(figure: Figure, path: Path) -> None:
    """Write the PNG, aside first and then moved. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as aside:
            figure.savefig(aside, format="png", dpi=100)
    except OSError as error:
        raise OutputError(f"The picture {path.name} cannot be written: {error.strerror}") from error


def _rows(config: AugmentConfig) -> list[_Row]:
    """The augmentations that are switched on, with their ends in words."""
    c = config
    rows = [
        _Row("rotation", ("rotation_deg",), (f"{-c.rotation_deg:.0f}°", f"+{c.rotation_deg:.0f}°")),
        _Row("scale", ("scale",), (f"pixels {1 - c.scale:.2f}x", f"pixels {1 + c.scale:.2f}x")),
        _Row("HU shift", ("shift_hu",), (f"{-c.shift_hu:.0f} HU", f"+{c.shift_hu:.0f} HU")),
        _Row("contrast about 40 HU", ("contrast",), (f"x {1 - c.contrast:.2f}", f"x {1 + c.contrast:.2f}")),
        _Row("noise", ("noise_hu",), ("sd 0 HU", f"sd {c.noise_hu:.0f} HU")),
        _Row("blur", ("blur_pixels", "blur_probability"), ("sigma 0", f"sigma {c.blur_pixels} pixels")),
        _Row("left-right flip", ("flip_lr",), ("flipped", "flipped")),
    ]
    return [row for row in rows if getattr(config, row.on[0])]


def _augmented(
    source: np.ndarray,
    marks: np.ndarray,
    centre: tuple[float, float],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """HU float32 and mask bool, both (crop, crop): as the sampler does it."""
    transform = crop_transform(centre, _CROP, config, rng)
    crop = warp(source, transform, _CROP, _AIR_HU)[None].astype(np.float32)
    mask = warp(marks * np.uint8(255), transform, _CROP, 0) > 127
    return change_intensity(crop, config, rng)[0], mask


def _show(axis: Any, crop: tuple[np.ndarray, np.ndarray], title: str, words: str = "") -> None:
    axis.imshow(crop[0], cmap="gray", vmin=HU_WINDOW[0], vmax=HU_WINDOW[1], interpolation="nearest")
    if crop[1].any():
        axis.contour(crop[1], levels=[0.5], colors="#ff463c", linewidths=0.8)
    _bare(axis, title, words)


def _compare(axis: Any, before: tuple[np.ndarray, np.ndarray], after: Any, row: _Row) -> None:
    """What the right end changed: both outlines for the geometry, a map of differences for the HU."""
    if row.on[0] in ("rotation_deg", "scale", "flip_lr"):
        from scipy import ndimage

        axis.imshow(before[0], cmap="gray", vmin=-1000, vmax=600)
        for crop, colour in ((before, "#41a5ff"), (after, "#ff463c")):
            smooth = ndimage.gaussian_filter(crop[0], 2.0)  # without the small vessels
            axis.contour(smooth, levels=[-500], colors=colour, linewidths=0.8, linestyles="solid")
        _bare(axis, f"as it is (blue), {row.ends[1]} (red)")
        return
    picture = axis.imshow(after[0] - before[0], cmap="RdBu_r", vmin=-60, vmax=60)
    axis.figure.colorbar(picture, ax=axis, shrink=0.8).ax.tick_params(labelsize=6)
    _bare(axis, f"{row.ends[1]} minus as it is, HU")


def _words(before: np.ndarray, after: np.ndarray, row: _Row) -> str:
    """What it did, in HU: the levels of lung, soft tissue and contrast; the noise; the sharpest edges."""
    if row.on[0] in ("shift_hu", "contrast"):
        parts = []
        for low, high, name in _LEVELS:
            where = (before > low) & (before < high)
            if where.any():
                parts.append(f"{name} {before[where].mean():.0f} to {after[where].mean():.0f}")
        return "\n".join(parts)
    if row.on[0] == "noise_hu":
        return f"adds sd {np.std(after - before):.1f} HU"
    if row.on[0] == "blur_pixels":
        old, new = (np.percentile(np.abs(np.diff(image, axis=1)), 99.5) for image in (before, after))
        return f"steepest edges {old:.0f} to {new:.0f} HU a pixel"
    return ""


def _bare(axis: Any, title: str, words: str = "") -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(words, fontsize=6.5)
