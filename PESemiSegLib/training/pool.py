"""The pool: crops that a network labelled itself and learns from ever after, as part of a run's state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from PESemiSegLib.cohorts.augment import crop_transform, warp, warp_labels
from PESemiSegLib.cohorts.sampling import SamplingConfig, to_hu, to_input
from PESemiSegLib.errors import InputError

_STEPS = 32_767
"""Of int16 per unit of the image's [-1, 1]: a step of a window of 1,400 HU is 0.02 HU, a scan's own is 1."""


class Pool:
    """Crops in the order in which they came; drawn from like annotated ones, changed by chance anew.

    The arrays themselves are kept, not where they came from: a checkpoint then needs no scans to go on, and
    the pseudo labels, which no later network would give again, are in it anyway. 1,600 crops of 64 pixels
    are 20 MB.
    """

    def __init__(self, config: SamplingConfig) -> None:
        self._config = config
        self._images = np.zeros((0, config.context, config.crop, config.crop), np.int16)
        self._labels = np.zeros((0, config.crop, config.crop), np.uint8)

    def __len__(self) -> int:
        return len(self._images)

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Take in crops as they are: float32 (N, context, H, W) in [-1, 1], uint8 (N, H, W) of labels."""
        self._images = np.concatenate([self._images, _stored(images)])
        self._labels = np.concatenate([self._labels, labels.astype(np.uint8)])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Crops, each alike, augmented as annotated ones are: image and mask as in `LabelledBatch`."""
        size, middle = self._config.crop, (self._config.crop - 1) / 2.0
        images, masks = [], []
        for index in rng.integers(len(self), size=count):
            transform = crop_transform((middle, middle), size, self._config.augment, rng)
            crop = self._images[index].astype(np.float32) / _STEPS
            planes = [warp(plane, transform, size, -1) for plane in crop]
            images.append(to_input(to_hu(np.stack(planes), self._config), self._config, rng))
            masks.append(warp_labels(self._labels[index], transform, size, self._config.classes))
        return np.stack(images), np.stack(masks)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {"images": torch.from_numpy(self._images), "labels": torch.from_numpy(self._labels)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`; raises InputError for crops of another size or number of slices."""
        images, labels = _stored(tensors["images"].numpy()), tensors["labels"].numpy()
        if images.shape[1:] != self._images.shape[1:] or labels.shape != (len(images), *images.shape[2:]):
            raise InputError("The checkpoint's pool holds crops of another size; start a new run.")
        self._images, self._labels = images, labels


def _stored(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as int16, the nearest step; as they are where they are stored already."""
    return images if images.dtype == np.int16 else np.rint(images * _STEPS).astype(np.int16)
