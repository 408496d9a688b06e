"""Figures of held-out crops during a run: the same crops every time, read by the averaged weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from PESemiSegLib.cohorts.sampling import LabelledSource
from PESemiSegLib.networks.outputs import decided, marks_of
from PESemiSegLib.training.layout import tensor_on


def crop_figures(
    segmenter: nn.Module, crops: LabelledSource, batches: int, device: torch.device
) -> dict[str, float]:
    """Pooled Dice, sensitivity and precision at 0.5; of several classes the means over all but background.

    segmenter: in evaluation mode. One that tells the class of a crop, too, also has an `auc`, where both
    classes are among the crops.
    """
    total: Tensor | None = None
    scores: list[float] = []
    truth: list[bool] = []
    with torch.inference_mode():
        for index in range(batches):
            batch = crops.batch(index)
            image, target = tensor_on(device, batch.image), tensor_on(device, batch.mask)
            logits, odds = _read(segmenter, image)
            mask, prediction = marks_of(target) > 0.5, marks_of(decided(logits)) > 0.5
            parts = (prediction & mask, prediction, mask)
            counts = torch.stack([part.transpose(0, 1).flatten(1).sum(1) for part in parts]).cpu().double()
            total = counts if total is None else total + counts
            if odds is not None:
                scores += odds.tolist()
                truth += mask.flatten(1).any(1).tolist()
    assert total is not None  # at least one batch, says the config
    hits, marked, true = total
    figures = {
        "dice": float((2 * hits / (marked + true).clamp_min(1.0)).mean()),
        "sensitivity": float((hits / true.clamp_min(1.0)).mean()),
        "precision": float((hits / marked.clamp_min(1.0)).mean()),
    }
    if len(set(truth)) == 2:
        figures["auc"] = _area(np.array(scores), np.array(truth))
    return figures


def _read(segmenter: nn.Module, image: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits, and the log-odds of PE (B,) where the network tells them."""
    if not hasattr(segmenter, "read"):
        return segmenter(image), None
    reading = segmenter.read(image)  # type: ignore[operator]
    return reading.logits, reading.classes[:, 1] - reading.classes[:, 0]


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))
