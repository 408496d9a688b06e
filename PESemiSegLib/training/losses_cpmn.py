"""The losses of CPMN (Section 2) beside the focal one: divergence of heads, affinities, dense centres.

Index n is the non-contrast pathway (the paper's Omega 2), c the contrast one (Omega 1). What comes from a
pathway that must not be changed is detached here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import full_precision

EPSILON = 1e-8


def divergence(learning: Tensor, fixed: Tensor) -> Tensor:
    """Eq. 1: D_KL(p_learning || p_fixed) of two heads' softmax, (B, 2) logits each; mean over crops."""
    own, other = learning.log_softmax(1), fixed.detach().log_softmax(1)
    return (own.exp() * (own - other)).sum(1).mean()


def mimicry(learning: Tensor, fixed: Tensor) -> Tensor:
    """D_KL(p_fixed || p_learning): what deep mutual learning (Zhang 2018) asks of each network in turn."""
    own, other = learning.log_softmax(1), fixed.detach().log_softmax(1)
    return (other.exp() * (other - own)).sum(1).mean()


def alignment_loss(
    learning: Tensor, fixed: Tensor, grid: tuple[int, int, int] = (3, 4, 4), reach: int = 0
) -> Tensor:
    """Eq. 2: mean over connected nodes i, j of (a_ij of fixed - a_ij of learning)^2; mean over crops.

    learning, fixed: encoder maps (B, C, z, y, x). Their voxels are averaged to at most `grid` nodes (the
    granularity beta), and a_ij is the cosine of nodes i and j. reach: nodes at most so far apart along each
    axis are connected (the range alpha); 0 connects all.
    """
    depth, height, width = (min(n, there) for n, there in zip(grid, learning.shape[2:], strict=True))
    size = (depth, height, width)
    difference = (_affinities(learning, size) - _affinities(fixed.detach(), size)).square()
    connected = _connected(size, reach).to(difference)
    return (difference * connected).sum((1, 2)).mean() / connected.sum()


def centre_loss(features: Tensor, mask: Tensor) -> Tensor:
    """Eq. 3: 1/2 sum_k of the mean over voxels of class k of |x - c_k|^2; c_k is their centroid in the batch.

    x is the voxel's feature at unit length, as in the affinities: else the loss is least where all features
    shrink to nothing, and they do so within ten steps (23). A mean, since a sum over millions of voxels would
    drown every other term. A class without voxels has no term.

    features: (B, C, z, y, x) or (B, C, y, x), mask of 0 and 1 alike with one channel.
    """
    values = F.normalize(full_precision(features), dim=1, eps=EPSILON).transpose(0, 1).flatten(1)
    inside = mask.to(values.dtype).flatten()
    classes = torch.stack([1.0 - inside, inside])  # (2, N)
    counts = classes.sum(1).clamp_min(1.0)
    centres = (values.detach() @ classes.T) / counts
    distances = (values - centres @ classes).square().sum(0)
    return 0.5 * (distances * ((1.0 / counts) @ classes)).sum()


def _affinities(features: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Cosines of all pairs of nodes, (B, N, N)."""
    nodes = F.adaptive_avg_pool3d(features, size).flatten(2)
    nodes = nodes / nodes.norm(dim=1, keepdim=True).clamp_min(EPSILON)
    return nodes.transpose(1, 2) @ nodes


def _connected(size: tuple[int, int, int], reach: int) -> Tensor:
    """0/1, (N, N): nodes at most `reach` apart along each axis; all where it is 0."""
    axes = [torch.arange(length) for length in size]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    apart = (places[:, None] - places[None]).abs().amax(-1)
    return (apart <= reach).float() if reach > 0 else torch.ones_like(apart, dtype=torch.float32)
