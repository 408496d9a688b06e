"""Draws StitchNet's styles of a slice, and what the slice would look like filled with each tissue."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.drawing import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from PESemiSegLib.inference.styles import Styles
    from PESemiSegLib.volumes.segments import SegmentInfo

_SIDE_IN = 2.6  # of one picture
_OPACITY = 0.45


def draw_styles(styles: Styles, segments: Sequence[SegmentInfo], path: Path) -> None:
    """Write a PNG: the slice and its styles above, its labels and the filled slices below.

    segments: those of the model's kind, in the order of its labels. Raises OutputError.
    """
    rows, columns = styles.image.shape
    width = len(segments) + 2
    size = (width * _SIDE_IN, 2 * (_SIDE_IN * rows / columns + 0.45))
    stream = io.BytesIO()
    with canvas(size) as figure:
        axes = figure.subplots(2, width, squeeze=False)
        _show(axes[0, 0], styles.image, f"Slice {styles.index + 1}")
        _show(axes[1, 0], styles.image, "Labels")
        axes[1, 0].imshow(_coloured(styles.labels, segments))
        _show(axes[0, 1], styles.styles[0], "Style of background")
        axes[1, 1].set_axis_off()
        for number, segment in enumerate(segments, start=1):
            name = segment.name.lower()
            _show(axes[0, number + 1], styles.styles[number], f"Style of {name}")
            _show(axes[1, number + 1], styles.filled(number), f"Filled with {name}")
        figure.text(0.995, 0.005, "made by a model; research use only", ha="right", fontsize=7)
        figure.savefig(stream, format="png", metadata={"Software": None})
    tables.write_bytes(path, stream.getvalue())


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _coloured(labels: np.ndarray, segments: Sequence[SegmentInfo]) -> np.ndarray:
    """RGBA in 0 to 1, (y, x, 4): each label in its segment's colour, see-through; 0 not at all."""
    clear = (0.0, 0.0, 0.0, 0.0)
    colours = [clear, *((*(value / 255 for value in s.colour_rgb), _OPACITY) for s in segments)]
    found: np.ndarray = np.array(colours)[labels]
    return found
