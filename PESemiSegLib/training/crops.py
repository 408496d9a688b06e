"""Where the batches of a run come from, and how they reach the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from PESemiSegLib.cohorts.sampling import ImageBatch, LabelledBatch, LabelledSource, UnlabelledCrops
from PESemiSegLib.training.layout import tensor_on
from PESemiSegLib.training.strategies.base import ImageTensors, LabelledTensors


@dataclass(frozen=True)
class Crops:
    """The labelled ones, those of the validation, and the unlabelled.

    source: a hash of the patients they are drawn from, which a run that goes on is held to; "" = not known.
    """

    train: LabelledSource
    validation: LabelledSource | None = None
    unlabelled: UnlabelledCrops | None = None
    source: str = ""


def placed(
    labelled: LabelledBatch, unlabelled: ImageBatch | None, device: torch.device
) -> tuple[LabelledTensors, ImageTensors | None]:
    """The batches as tensors on the device."""
    image, mask = (tensor_on(device, part) for part in (labelled.image, labelled.mask))
    known = LabelledTensors(image, mask, slices=labelled.slices)
    return known, None if unlabelled is None else ImageTensors(tensor_on(device, unlabelled.image))
