"""StitchNet (Zammit): latents of style and meaning, one picture per class, and labels that stitch them.

Labels and styles have the order of the kind of model: background, the lesions, healthy tissue last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from PESemiSegLib.networks.blocks import conv_norm, enlarge, full_precision
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.ladder import Inferred, Ladder
from PESemiSegLib.networks.mobilenet import MobileNetV2
from PESemiSegLib.networks.segmenter import Segmenter, classifier, widened


@dataclass(frozen=True)
class Explanation:
    """How the network explains images.

    logits: log y, (B, classes, H, W). features: in front of the head. styles: (B, classes, 2, H, W), for each
    class the logit of the grey value and the raw precision of each pixel. z, k: the latents.
    """

    logits: Tensor
    features: Tensor
    styles: Tensor
    z: Inferred
    k: Inferred

    def of(self, images: slice) -> Explanation:
        """The same of some images of the batch."""
        maps = (self.logits[images], self.features[images], self.styles[images])
        return Explanation(*maps, self.z.of(images), self.k.of(images))

    @property
    def pictures(self) -> Tensor:
        """What the image would look like if all of it were of one class: (B, classes, H, W) in [-1, 1]."""
        return 2.0 * self.styles[:, :, 0].sigmoid() - 1.0


class Decoder(nn.Module):
    """The decoder of a U-Net whose skipped maps are latents, finest first: -> (B, width, H, W)."""

    def __init__(self, latents: int, levels: int, width: int) -> None:
        super().__init__()
        self.joins = nn.ModuleList(
            nn.Sequential(conv_norm(latents + (width if level else 0), width), conv_norm(width, width))
            for level in range(levels)
        )
        self.last = conv_norm(width, width)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        coarsest, *finer = reversed(latents)
        x = self.joins[0](coarsest)
        for join, latent in zip(self.joins[1:], finer, strict=True):
            x = join(torch.cat([enlarge(x, 2), latent.to(x.dtype)], 1))
        found: Tensor = self.last(enlarge(x, 2))
        return found


class Stitch(nn.Module):
    """Features -> log y = log Psi(fb, l) (Eq. 6): outside, or inside and there one of the classes of lung.

    fb: outside, inside, from z and k; l: healthy, then the lesions, as the report numbers them, from k alone.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.tissue = classifier(config.width, config.classes - 1)
        self.lung = classifier(config.width, 2, prior=0.5)  # lung is not rare; a lesion in it is

    def forward(self, features: Tensor) -> Tensor:
        of_k, of_both = features.chunk(2, 1)
        tissue = full_precision(self.tissue(of_k)).log_softmax(1)
        outside, inside = full_precision(self.lung(of_both)).log_softmax(1).split(1, 1)
        healthy, lesions = tissue[:, :1], tissue[:, 1:]
        # The one place where the report's order (healthy first) becomes the kind's (healthy last).
        return torch.cat([outside, inside + lesions, inside + healthy], 1)


class StitchNet(Segmenter):
    """p(x, y, z, k) = p(z) p(k) p(y | z, k) p(x | y, styles(z, k)), and q(z, k | x) (Eq. 6 to 14).

    Two MobileNetV2 encoders, two ladders of five levels, a decoder per style, one for the tissue l = pi(k)
    and one for the lung fb = pi(z, k). `forward` reads the labels at the posterior's means, without chance;
    `explain` gives everything, and draws the latents when it is given a generator.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        width, latents = config.width, config.latents

        def encoder() -> MobileNetV2:
            return MobileNetV2(config.context, width, full=config.depth == "full")

        self.style_encoder, self.label_encoder = encoder(), encoder()
        maps = self.style_encoder.channels
        self.style_ladder, self.label_ladder = (Ladder(maps, width, latents) for _ in range(2))
        self.tissue = Decoder(latents, len(maps), width)
        self.lung = Decoder(2 * latents, len(maps), width)
        self.styles = nn.ModuleList(
            nn.Sequential(Decoder(2 * latents, len(maps), width), nn.Conv2d(width, 2, 3, padding=1))
            for _ in range(config.classes)
        )
        self.head = Stitch(config)

    def infer(self, image: Tensor, draw: torch.Generator | None = None) -> tuple[Inferred, Inferred]:
        """z and k of an image (B, context, H, W) in [-1, 1], H and W multiples of 32."""
        z = self.style_ladder(self.style_encoder(image), draw)
        return z, self.label_ladder(self.label_encoder(image), draw)

    def features(self, image: Tensor) -> Tensor:
        """See Segmenter: (B, 2w, H, W), the maps that tell the tissue and the lung."""
        z, k = self.infer(image)
        return self._features(k.latents, _joined(z, k))

    def explain(self, image: Tensor, draw: torch.Generator | None = None) -> Explanation:
        """Labels, styles and latents of an image; the latents are drawn where a generator is given."""
        z, k = self.infer(widened(image, self.config.deepest_stride), draw)
        both = _joined(z, k)
        features = self._features(k.latents, both)
        styles = torch.stack([full_precision(style(both)) for style in self.styles], 1)
        height, width = image.shape[-2:]
        logits, features, styles = (x[..., :height, :width] for x in (self.head(features), features, styles))
        return Explanation(logits, full_precision(features), styles, z, k)

    def _features(self, k: Sequence[Tensor], both: Sequence[Tensor]) -> Tensor:
        return torch.cat([self.tissue(k), self.lung(both)], 1)


def _joined(z: Inferred, k: Inferred) -> list[Tensor]:
    """C(z_i, k_i) of Eq. 14."""
    return [torch.cat(pair, 1) for pair in zip(z.latents, k.latents, strict=True)]
