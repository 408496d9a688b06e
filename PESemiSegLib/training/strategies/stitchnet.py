"""StitchNet (Zammit): labelled and unlabelled crops raise one variational bound (its Eq. 8 to 10)."""

from __future__ import annotations

import torch
from torch import Tensor

from PESemiSegLib.networks.stitchnet import Explanation
from PESemiSegLib.training import elbo
from PESemiSegLib.training.losses import segmentation_loss
from PESemiSegLib.training.settings_stitchnet import StitchNetConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method, View


class StitchNet(Method):
    """L = -ELBO(x_l, y) + focal(y) - w(t) ELBO(x_u), in nats per pixel, of the network `stitchnet`.

    Its terms: L_seg = -log p(y | z, k), L_x = -log p(x | y, z, k), L_kl = KL(q || p) of labelled crops;
    L_semi = -log sum_y p(x, y | z, k) and L_kl_unlabelled of the others; L_focal. A labelled pixel without a
    known label counts as an unlabelled one. All crops share one pass, each drawn once from q(z, k | x).
    """

    @property
    def schedule(self) -> StitchNetConfig:
        """See Method."""
        return self._config.semi.stitchnet

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        *_, judge = super().timeline()
        focal = f", and {s.supervised_weight:g} focal cross-entropy" if s.supervised_weight else ""
        rising = f", divergences rising over {s.kl_warmup:.0%} of the run" if s.kl_warmup else ""
        return [
            f"bound of image and label ({s.likelihood}) on labelled crops from the first iteration{focal}",
            f"bound of the image, summed over labels, on unlabelled crops {self.when(s.start)}{rising}",
            judge,
        ]

    def supervised_step(self, labelled: LabelledTensors, clock: Clock) -> Outcome:
        """See Method: the bound of labelled crops alone."""
        return self._conclude(labelled, self._explained(labelled.image, clock), {}, {}, clock)

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        count, image = len(labelled.image), unlabelled.image
        found = self._explained(torch.cat([labelled.image, image]), clock)
        known, unknown = found.of(slice(count)), found.of(slice(count, None))
        semi = -elbo.log_mixture(self._log_joint(image, unknown)).mean()
        terms = {"L_semi": weight * semi, "L_kl_unlabelled": weight * self._divergence(unknown, clock)}
        figures = {"L_semi": float(semi.detach())} | elbo.looks(unknown, "_unlabelled")
        return self._conclude(labelled, known, terms, figures, clock)

    def _explained(self, image: Tensor, clock: Clock) -> Explanation:
        module = self.learners["segmenter"].module
        with self.precision(image.device.type):
            found: Explanation = module.explain(image, self.draw(clock, image.device))  # type: ignore[operator]
        return found

    def _known_terms(self, labelled: LabelledTensors, known: Explanation, clock: Clock) -> dict[str, Tensor]:
        s, mask = self.schedule, labelled.mask
        valid = torch.ones_like(mask[:, :1]) if labelled.valid is None else labelled.valid
        log_joint = self._log_joint(labelled.image, known)
        of_label = elbo.log_known(known.logits, mask)
        of_image = valid * (elbo.log_known(log_joint, mask) - of_label)
        terms = {
            "L_seg": -(valid * of_label).mean(),
            "L_x": -(of_image + (1.0 - valid) * elbo.log_mixture(log_joint)).mean(),
            "L_kl": self._divergence(known, clock),
        }
        if s.supervised_weight:
            focal = segmentation_loss(known.logits, mask, 1.0, 0.0, valid=valid, focal_gamma=s.focal_gamma)
            terms["L_focal"] = s.supervised_weight * focal
        return terms

    def _log_joint(self, image: Tensor, found: Explanation) -> Tensor:
        """log p(x, y = c | z, k) of every pixel, (B, classes, H, W)."""
        return found.logits + elbo.log_appearance(image, found.styles, self.schedule.likelihood)

    def _divergence(self, found: Explanation, clock: Clock) -> Tensor:
        s, pixels = self.schedule, found.logits[0, 0].numel()
        asked = [elbo.divergence(family, pixels, s.free_bits).asked for family in (found.z, found.k)]
        return s.divergence_weight(clock.progress) * torch.stack(asked).sum()

    def _conclude(
        self,
        labelled: LabelledTensors,
        known: Explanation,
        terms: dict[str, Tensor],
        figures: dict[str, float],
        clock: Clock,
    ) -> Outcome:
        """Add the terms of the labelled crops, descend, and give D its turn; their figures are unweighted."""
        raw = self._known_terms(labelled, known, clock)
        terms = {name: self.schedule.labelled_weight * term for name, term in raw.items()} | terms
        figures |= {name: float(term.detach()) for name, term in raw.items()} | elbo.looks(known, "")
        return self.conclude(labelled, View(known.logits, known.features), terms, figures, clock)
