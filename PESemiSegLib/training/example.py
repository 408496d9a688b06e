"""Draws what the model marks by now: one crop, always the same, after every look at the validation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from PESemiSegLib.atomic import whole_file
from PESemiSegLib.networks.outputs import decided, foreground

if TYPE_CHECKING:
    from PESemiSegLib.cohorts.sampling import LabelledSource
    from PESemiSegLib.training.trainer import Trainer

_LOG = logging.getLogger(__name__)
EXAMPLES = "examples"
_LABEL_RGB, _MARKS_RGB = (0, 158, 255), (255, 140, 0)  # blue and orange, apart without colour vision too
_LOOKED_THROUGH = 8  # batches, for the crop with the largest mark
_SCALE = 2


@dataclass(frozen=True)
class _Crop:
    image: np.ndarray  # (1, context, H, W), or a volume (1, 1, z, H, W), in [-1, 1]
    label: np.ndarray  # bool (H, W)
    z: int | None = None  # of a volume, the slice that is shown


class Examples:
    """Writes `examples/000120.png` into a run's folder: the slice, its label in blue, the marks in orange.

    The crop is the held-out one with the largest mark, or one of training where nothing is held out.
    """

    def __init__(self, folder: Path, crops: LabelledSource) -> None:
        self._folder, self._crops = folder / EXAMPLES, crops
        self._crop: _Crop | None = None

    def draw(self, trainer: Trainer) -> Path | None:
        """The picture of the present weights; None where it cannot be written, which ends no training."""
        self._crop = self._crop or self._choose()
        with trainer.average.applied() as segmenter, torch.inference_mode():
            image = torch.from_numpy(self._crop.image).to(trainer.device)
            marks = foreground(decided(segmenter(image)))[0, 0].cpu().numpy() > 0.5
        grey, z = self._crop.image[0, self._crop.image.shape[1] // 2], self._crop.z
        if z is not None:
            grey, marks = grey[z], marks[z]
        path = self._folder / f"{trainer.iteration:06d}.png"
        try:
            self._folder.mkdir(exist_ok=True)
            _save(path, picture(grey, self._crop.label, marks))
        except OSError as error:
            _LOG.warning("The example %s cannot be written: %s", path.name, error.strerror)
            return None
        return path

    def _choose(self) -> _Crop:
        best: tuple[float, _Crop] | None = None
        for number in range(_LOOKED_THROUGH):
            batch = self._crops.batch(number)
            labels = foreground(torch.from_numpy(batch.mask)).numpy()[:, 0] > 0.5
            marked = labels.sum((-2, -1))  # per crop, and per slice of volumes
            index, *z = map(int, np.unravel_index(int(marked.argmax()), marked.shape))
            size = float(marked.max())
            if best is None or size > best[0]:
                image = batch.image[index : index + 1, : 1 if z else None].copy()
                best = size, _Crop(image, labels[(index, *z)], *z)
        assert best is not None
        return best[1]


def picture(grey: np.ndarray, label: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """uint8 RGB, twice as large: `grey` in [-1, 1] (H, W), with the outlines of two masks (H, W)."""
    large = np.kron((grey + 1) * 127.5, np.ones((_SCALE, _SCALE)))
    found = np.repeat(large.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    for mask, colour in ((label, _LABEL_RGB), (marks, _MARKS_RGB)):
        found[_outline(np.kron(mask, np.ones((_SCALE, _SCALE), bool)))] = colour
    return found


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch its outside by a side."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _save(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with whole_file(path) as aside:
        Image.fromarray(pixels).save(aside, "PNG")
