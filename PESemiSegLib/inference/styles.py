"""StitchNet's pictures of one slice: its style for each class, and the slice filled with one tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.segment import plan

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume


@dataclass(frozen=True)
class Styles:
    """What the model makes of a slice, in the box of the lungs; grey values in [-1, 1] of its HU window.

    index: the slice, from 0. image: float32 (y, x). labels: uint8 (y, x), 0 outside of the lung. styles:
    float32 (classes, y, x): what all of it would look like, were it of that class.
    """

    index: int
    image: np.ndarray
    labels: np.ndarray
    styles: np.ndarray

    def filled(self, label: int) -> np.ndarray:
        """The slice with all lung of one class: its style inside, the slice itself outside, (y, x)."""
        found: np.ndarray = np.where(self.labels > 0, self.styles[label], self.image)
        return found


def find_styles(volume: Volume, package: ModelPackage, index: int | None = None) -> Styles:
    """Read one slice with a StitchNet model, at the means of its latents, on the CPU.

    index: the slice, from 0; None takes the one with most lung. Raises ConfigError for a model without styles
    and for a slice that the scan does not have.
    """
    if package.info.network_config.architecture != "stitchnet":
        raise ConfigError(f"The model {package.info.name} draws no styles; models of StitchNet do.")
    import torch

    from PESemiSegLib.models.load import load_segmenter
    from PESemiSegLib.networks.stitchnet import StitchNet

    lungs = lung_mask(volume.hu, volume.spacing_mm)
    if index is None:
        index = min(int(lungs.area_mm2.argmax()) * lungs.stride[0], volume.shape[0] - 1)
    if not 0 <= index < volume.shape[0]:
        raise ConfigError(f"There is no slice {index + 1}: the scan has {volume.shape[0]}.")
    preparer, _ = plan(volume, package, lungs)
    image = preparer.input(index)
    network = load_segmenter(package)
    assert isinstance(network, StitchNet)
    with torch.inference_mode():
        found = network.explain(torch.from_numpy(image)[None])
    labels, styles = found.logits[0].softmax(0).numpy(), found.pictures[0].numpy()

    def back(planes: np.ndarray) -> np.ndarray:
        return np.stack([preparer.back(plane) for plane in planes])

    middle = preparer.back(image[len(image) // 2])
    return Styles(index, middle, back(labels).argmax(0).astype(np.uint8), back(styles))
