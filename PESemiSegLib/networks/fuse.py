"""Batch norms folded into the convolutions before them, for inference with torch."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """Return an evaluation copy that computes the same function with no batch norms left behind convolutions.

    Args:
        network: any module whose norms follow their convolution directly in an `nn.Sequential`.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for (index, layer), (after, norm) in pairwise(list(enumerate(module))):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(layer, norm)
                module[after] = nn.Identity()
    return folded.requires_grad_(False)
