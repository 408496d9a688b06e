"""StitchNet's variational bound (its Eq. 8 to 10), in nats per pixel: grey values, labels, divergences.

c runs over the classes, y_c = p(c | z, k) and p_c(x) = p(x | style c), pixel by pixel. With a label, a pixel
has log y_c p_c(x) of that class; without one log sum_c y_c p_c(x): labels of pixels are independent given z
and k, so that the sum over all label images of Eq. 9 is a product of sums. Latents were drawn once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Beta, Distribution, Normal

from PESemiSegLib.networks.ladder import Inferred
from PESemiSegLib.networks.outputs import decided
from PESemiSegLib.networks.stitchnet import Explanation

_EDGE = 0.002  # a Beta density has no value at 0 and 1, where the HU window clips: grey values keep away
_LEAST_MEAN = 1e-3  # of a Beta, so that neither of its parameters vanishes
_PRECISIONS = (1.0, 1000.0)  # of Beta and Gaussian; at 1000 the standard deviation is 0.016 of the window


def grey(image: Tensor) -> Tensor:
    """The middle slice of (B, context, H, W) in [-1, 1] as x in [0, 1], (B, 1, H, W)."""
    middle = image.shape[1] // 2
    return (image[:, middle : middle + 1].clamp(-1.0, 1.0) + 1.0) / 2.0


def appearance(styles: Tensor, likelihood: str) -> Distribution:
    """p(x | style c) of every pixel, (B, classes, H, W), from `Explanation.styles`.

    "bernoulli" (the report's; on grey values no density, but its bound still rises with the fit), "beta" of
    mean m and precision a + b, or "gaussian" of mean m and the variance that such a Beta has around 1/2.
    """
    logit, raw = styles.float().unbind(2)
    if likelihood == "bernoulli":
        return Bernoulli(logits=logit, validate_args=False)
    low, high = map(math.log, _PRECISIONS)
    precision = (low + (high - low) * raw.sigmoid()).exp()
    if likelihood == "gaussian":
        return Normal(logit.sigmoid(), 0.5 * (1.0 + precision).rsqrt(), validate_args=False)
    mean = _LEAST_MEAN + (1.0 - 2.0 * _LEAST_MEAN) * logit.sigmoid()
    return Beta(mean * precision, (1.0 - mean) * precision, validate_args=False)


def log_appearance(image: Tensor, styles: Tensor, likelihood: str) -> Tensor:
    """log p_c(x), (B, classes, H, W), of an image (B, context, H, W) in [-1, 1]."""
    x = grey(image)
    if likelihood == "beta":
        x = _EDGE + (1.0 - 2.0 * _EDGE) * x
    found: Tensor = appearance(styles, likelihood).log_prob(x)
    return found


def log_known(log_joint: Tensor, mask: Tensor) -> Tensor:
    """The joint's value at the label: (B, classes, H, W) and a one-hot mask alike -> (B, 1, H, W)."""
    return (log_joint * mask).sum(1, keepdim=True)


def log_mixture(log_joint: Tensor) -> Tensor:
    """log sum_c exp: the label is not known. (B, classes, H, W) -> (B, 1, H, W)."""
    return log_joint.logsumexp(1, keepdim=True)


@dataclass(frozen=True)
class Divergence:
    """KL(q || p) of one family of latents, nats per pixel: as it is, and as the loss asks for it."""

    found: Tensor
    asked: Tensor


def divergence(family: Inferred, pixels: int, free_bits: float = 0.0) -> Divergence:
    """Sum over levels, channels and positions, mean over the images, divided by the pixels of one.

    free_bits: each channel of a level may hold as many bits per position for nothing (Kingma 2016).
    """
    found, asked = [], []
    for level in family.divergences():
        of_channels = level.mean((0, 2, 3))
        positions = level.shape[2] * level.shape[3] / pixels
        found.append(of_channels.sum() * positions)
        asked.append(of_channels.clamp_min(free_bits * math.log(2.0)).sum() * positions)
    return Divergence(torch.stack(found).sum(), torch.stack(asked).sum())


def apart(pictures: Tensor, labels: Tensor) -> float:
    """How far the styles of lung differ: mean distance of two of them, in units of the image's [-1, 1].

    pictures: (B, classes, H, W). labels: y alike; pixels weigh as much as they lie in lung. 0: all alike.
    """
    inside = 1.0 - labels[:, :1]
    tissues: Sequence[Tensor] = pictures[:, 1:].split(1, 1)
    pairs = [(a - b).abs() for i, a in enumerate(tissues) for b in tissues[:i]]
    each = torch.stack(pairs).mean(0) * inside
    return float(each.sum() / inside.sum().clamp_min(1.0))


def variety(labels: Tensor) -> float:
    """How far y, (B, classes, H, W), differs from image to image: 0 where all have the same segmentation.

    The mean over pixels of sum_c Var(y_c) over the images; of hard labels half the chance that two images
    differ at a pixel.
    """
    return float(labels.var(0, unbiased=False).sum(0).mean())


@torch.no_grad()
def looks(found: Explanation, suffix: str) -> dict[str, float]:
    """What tells whether a batch is learnt from: divergences, styles, labels; names end in the suffix.

    kl_z, kl_k: nats per pixel; styles_apart, label_variety: see `apart` and `variety` (one image alone has
    none); class_N: the share of pixels whose likeliest class is N.
    """
    labels = found.logits.softmax(1)
    pixels = labels[0, 0].numel()
    figures = {f"kl_{name}": float(divergence(getattr(found, name), pixels).found) for name in ("z", "k")}
    figures["styles_apart"] = apart(found.pictures, labels)
    if len(labels) > 1:
        figures["label_variety"] = variety(labels)
    shares = decided(labels).mean((0, 2, 3)).tolist()
    figures |= {f"class_{number}": share for number, share in enumerate(shares)}
    return {name + suffix: value for name, value in figures.items()}
