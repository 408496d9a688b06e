"""The losses of the method (1A.5), of logits and targets of shape (B, 1, H, W), or one-hot (B, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.networks.outputs import (
    cross_entropy,
    decided,
    foreground,
    marks_of,
    probabilities,
    sureness,
)

EPSILON = 1e-5


def dice_loss(logits: Tensor, target: Tensor, over: str = "sample", valid: Tensor | None = None) -> Tensor:
    """1 - mean_n (2 sum p m + eps) / (sum p + sum m + eps); p = sigmoid(logits), m = target, scalar.

    over: "sample" takes n over the images as published, "batch" makes one ratio of all. valid: 0/1, shaped
    (B, 1, H, W); None = 1. With several classes p is their softmax, and n runs over all but background, too.
    """
    probability, target = marks_of(probabilities(logits)), marks_of(target)
    if valid is not None:
        probability, target = probability * valid, target * valid
    within = tuple(range(2, target.dim()))
    axes = within if over == "sample" else (0, *within)
    overlap = 2.0 * (probability * target).sum(axes)
    return 1.0 - ((overlap + EPSILON) / (probability.sum(axes) + target.sum(axes) + EPSILON)).mean()


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    bce: float = 0.5,
    dice: float = 1.0,
    over: str = "sample",
    valid: Tensor | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """L_seg = 0.5 BCE + Dice; equals MONAI's DiceCELoss(sigmoid=True, lambda_ce=0.5, lambda_dice=1).

    With several classes BCE is the multi-class cross-entropy, as in DiceCELoss(softmax=True,
    include_background=False). valid: 0/1, (B, 1, H, W); pixels of 0 have no part in it (None: all have). With
    none valid the cross-entropy is 0. focal_gamma: each pixel's cross-entropy -log p, p that of its own
    label, counts (1 - p)^gamma (Lin 2017).
    """
    each = cross_entropy(logits, target)
    if focal_gamma:
        each = each * (-torch.expm1(-each)).clamp_min(EPSILON**2) ** focal_gamma
    pixels = each.mean() if valid is None else (each * valid).sum() / valid.sum().clamp_min(1.0)
    return bce * pixels + dice * dice_loss(logits, target, over, valid) if dice else bce * pixels


def discriminator_loss(
    real: Tensor,
    fake: Tensor,
    real_label: float = 1.0,
    weight: Tensor | None = None,
    fake_weight: Tensor | None = None,
) -> Tensor:
    """L_D = 1/2 BCE(D([w m, f]), 1) + 1/2 BCE(D([w p, f]), 0), from D's logits, weighted means.

    weight: of the real pixels, and of the fake ones too where `fake_weight` is None.
    """
    fake_weight = weight if fake_weight is None else fake_weight
    return 0.5 * _bce_to(real, real_label, weight) + 0.5 * _bce_to(fake, 0.0, fake_weight)


def adversarial_loss(confidence: Tensor, valid: Tensor | None = None) -> Tensor:
    """L_adv = BCE(D([w p, f]), 1), from D's logits; the caller freezes D."""
    return _bce_to(confidence, 1.0, valid)


def trusted_loss(
    logits: Tensor,
    trusted: Tensor,
    bce: float = 1.0,
    dice: float = 0.0,
    balance: str = "none",
    of: Tensor | None = None,
) -> Tensor:
    """L_semi: the prediction against its own cut 1[p > 0.5] (the likeliest class), where `trusted` is 1.

    of: logits of another view of the crops, whose cut is the label instead.
    balance: with "positive_fraction", the mean of the means over marked and over unmarked pixels, since of a
    slice less than 1 % is marked; else the mean over all trusted pixels.
    """
    label = decided((logits if of is None else of).detach())
    each, marked = cross_entropy(logits, label), foreground(label)
    apart = balance == "positive_fraction"
    groups = (trusted * marked, trusted * (1.0 - marked)) if apart else (trusted,)
    means = [(each * group).sum() / group.sum().clamp_min(1.0) for group in groups]
    total = bce * torch.stack(means).mean()
    return total + dice * dice_loss(logits, label, valid=trusted) if dice else total


def sure_pixels(probability: Tensor, threshold: float) -> Tensor:
    """1 where max(p, 1 - p), of several classes max p, is >= threshold: what a pseudo label is taken from."""
    return (sureness(probability) >= threshold).to(probability.dtype)


def soften(mask: Tensor, sigma_pixels: float) -> Tensor:
    """Gaussian-blurred mask: what D sees as real, so that 0/1 against soft values is no shortcut (1A.9)."""
    if sigma_pixels <= 0:
        return mask
    reach = max(1, round(3 * sigma_pixels))
    steps = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    kernel = torch.exp(-0.5 * (steps / sigma_pixels) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(mask, (reach, reach, reach, reach), mode="replicate")
    across = kernel.expand(mask.shape[1], 1, 1, -1)  # each class by itself
    blurred = F.conv2d(padded, across, groups=len(across))
    return F.conv2d(blurred, across.transpose(2, 3), groups=len(across))


def near_marks(mask: Tensor, probability: Tensor, reach_pixels: int = 8) -> Tensor:
    """1 within `reach_pixels` (a square) of a pixel that the annotator or the segmenter marked, else 0."""
    marked = torch.maximum(foreground(mask), foreground(decided(probability, 0.5)).to(mask.dtype))
    return F.max_pool2d(marked, 2 * reach_pixels + 1, stride=1, padding=reach_pixels)


def _bce_to(logits: Tensor, label: float, weight: Tensor | None) -> Tensor:
    pixels = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label), reduction="none")
    return pixels.mean() if weight is None else (pixels * weight).sum() / weight.sum().clamp_min(EPSILON)
