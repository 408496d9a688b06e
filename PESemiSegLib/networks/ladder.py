"""A ladder of Gaussian latents (Sonderby 2016): prior and posterior of five levels, the coarsest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import BasicBlock, conv_norm, full_precision

_BOUND = 6.0  # of log variances, both ways: no exponential overflows, no level becomes a point
_OUTPUT_STD = 0.01


@dataclass(frozen=True)
class Gaussian:
    """Independent normals: mean and log variance, (B, C, h, w)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, draw: torch.Generator) -> Tensor:
        """One value each, through which gradients pass to mean and variance."""
        noise = torch.randn(self.mean.shape, generator=draw, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def standard(self) -> Gaussian:
        """Mean 0 and variance 1, of the same shape."""
        return Gaussian(torch.zeros_like(self.mean), torch.zeros_like(self.mean))


def merged(found: Gaussian, prior: Gaussian) -> Gaussian:
    """What an encoder found and what the prior expects, weighted by their precisions (StitchNet, Eq. 13).

    1 / v = 1 / v_found + 1 / v_prior and m = v (m_found / v_found + m_prior / v_prior). The report prints the
    first as sigma without a square root; it is the variance (register 16).
    """
    balance = prior.log_variance - found.log_variance
    mean = prior.mean + balance.sigmoid() * (found.mean - prior.mean)
    return Gaussian(mean, found.log_variance + F.logsigmoid(balance))


def divergence(posterior: Gaussian, prior: Gaussian) -> Tensor:
    """KL(posterior || prior) of every latent, nats, (B, C, h, w)."""
    ratio = posterior.log_variance - prior.log_variance
    distance = (posterior.mean - prior.mean).square() * (-prior.log_variance).exp()
    return 0.5 * (ratio.exp() + distance - 1.0 - ratio)


@dataclass(frozen=True)
class Inferred:
    """One family of latents, finest level first: a value of each, its posterior and its prior."""

    latents: list[Tensor]
    posteriors: list[Gaussian]
    priors: list[Gaussian]

    def of(self, images: slice) -> Inferred:
        """The same of some images of the batch."""
        groups = (self.posteriors, self.priors)
        parts = ([Gaussian(g.mean[images], g.log_variance[images]) for g in group] for group in groups)
        return Inferred([latent[images] for latent in self.latents], *parts)

    def divergences(self) -> list[Tensor]:
        """KL(q(z_i | x) || p(z_i | z_i+1)) of every latent, nats, a (B, C, h, w) per level."""
        return [divergence(*pair) for pair in zip(self.posteriors, self.priors, strict=True)]


class GaussianMap(nn.Module):
    """A map -> the normals of one level: Shared = ResBlock(stem(x)), then a ResBlock each (Eq. 11).

    The 1x1 convolutions behind the ResBlocks, which end in a ReLU, give mean and log variance their sign.
    """

    def __init__(self, stem: nn.Module, channels: int, latents: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(stem, BasicBlock(channels))
        self.mean = nn.Sequential(BasicBlock(channels), _output(channels, latents))
        self.log_variance = nn.Sequential(BasicBlock(channels), _output(channels, latents))

    def forward(self, x: Tensor) -> Gaussian:
        shared = self.shared(x)
        spread = full_precision(self.log_variance(shared))
        return Gaussian(full_precision(self.mean(shared)), _BOUND * (spread / _BOUND).tanh())


class Ladder(nn.Module):
    """One family z_1 (finest) ... z_5 ~ N(0, I): p(z_i | z_i+1), and q(z_i | x) merged with it.

    The report writes z_i-1 for the parent; z_5 is the independent one, so the parent is the coarser level.

    Args:
        maps: channels of the encoder's maps, finest first.
        channels: within the mappings. latents: channels of every level.
    """

    def __init__(self, maps: Sequence[int], channels: int, latents: int) -> None:
        super().__init__()
        self.found = nn.ModuleList(
            GaussianMap(conv_norm(given, channels, kernel=1), channels, latents) for given in maps
        )
        self.expected = nn.ModuleList(
            GaussianMap(nn.ConvTranspose2d(latents, channels, 4, 2, padding=1), channels, latents)
            for _ in pairwise(maps)
        )

    def forward(self, maps: Sequence[Tensor], draw: torch.Generator | None = None) -> Inferred:
        """Go down from the coarsest level. Without a generator each latent is its posterior's mean."""
        latents: list[Tensor] = []
        posteriors: list[Gaussian] = []
        priors: list[Gaussian] = []
        for level in reversed(range(len(maps))):
            found = self.found[level](maps[level])
            prior = self.expected[level](latents[0]) if latents else found.standard()
            posterior = merged(found, prior)
            latents.insert(0, posterior.mean if draw is None else posterior.sample(draw))
            posteriors.insert(0, posterior)
            priors.insert(0, prior)
        return Inferred(latents, posteriors, priors)


def _output(channels: int, latents: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, latents, 1)
    nn.init.normal_(layer.weight, std=_OUTPUT_STD / math.sqrt(channels))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
