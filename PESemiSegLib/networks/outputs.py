"""What the channels of a segmenter's output mean: one sigmoid channel for two classes, a softmax for more.

Masks and probabilities have the channels of the logits everywhere: (B, 1, H, W), the mark alone, or, one-hot
and background first, (B, C, H, W). These few functions are all that knows the difference.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def probabilities(logits: Tensor) -> Tensor:
    """Sigmoid of one channel, softmax over several."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def decided(values: Tensor, at: float = 0.0) -> Tensor:
    """The 0/1 mask: one channel above `at` (0 for logits, 0.5 for probabilities), of several the best."""
    if values.shape[1] == 1:
        return (values > at).to(values.dtype)
    likeliest = values.argmax(1, keepdim=True)
    return torch.zeros_like(values).scatter_(1, likeliest, 1.0)


def foreground(mask: Tensor) -> Tensor:
    """(B, 1, H, W): the mask, or probability, of anything but background."""
    return mask if mask.shape[1] == 1 else 1.0 - mask[:, :1]


def marks_of(mask: Tensor) -> Tensor:
    """The channels of the marks: the only one, or all but the background's."""
    return mask if mask.shape[1] == 1 else mask[:, 1:]


def empty_mask(like: Tensor) -> Tensor:
    """A mask without any mark, shaped like another."""
    mask = torch.zeros_like(like)
    if mask.shape[1] > 1:
        mask[:, 0] = 1.0
    return mask


def sureness(probability: Tensor) -> Tensor:
    """(B, 1, H, W): the probability of the likelier class."""
    if probability.shape[1] == 1:
        return torch.maximum(probability, 1.0 - probability)
    return probability.amax(1, keepdim=True)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Per pixel, (B, 1, H, W): binary of one channel, else -sum_c t_c log softmax_c (Tan et al., Eq. 3)."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return -(target * logits.log_softmax(1)).sum(1, keepdim=True)
