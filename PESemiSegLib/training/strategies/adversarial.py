"""The paper's method: S pleases a frozen D, and learns from its own marks where D trusts them (1A.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from PESemiSegLib.networks.outputs import decided, foreground, probabilities
from PESemiSegLib.training.finish import settings_of
from PESemiSegLib.training.losses import adversarial_loss, sure_pixels, trusted_loss
from PESemiSegLib.training.settings import TrustConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method, frozen, unlabelled_figures
from PESemiSegLib.training.views import strong


class Adversarial(Method):
    """L = L_seg(x_l) + a L_adv(x_l) + b L_adv(x_u) + c L_semi(x_u), then D's own step on L_D.

    L_adv = BCE(D([w p, f]), 1) with D frozen; L_semi = p against its own cut where sigma(D([w p, f])) >= T;
    with `strong_view`, p of a strong view against the cut of the crop as drawn: FixMatch with D's confidence
    in the place of the network's own. Of D's features `detach_features` decides; L_D never reaches S.
    """

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self._config.semi.adversarial
        adversarial = f"L_adv (weights {s.weight_labelled:g} labelled, {s.weight_unlabelled:g} unlabelled)"
        each = " of marked and of other pixels" if s.threshold.quantile and s.balance == "trust" else ""
        semi = f"confidence-masked loss L_semi (T = {s.trust}{each}, weight {s.weight_semi:g})"
        lessons = settings_of(self._config, "head_start").iterations
        return [
            *([f"D alone, for up to {lessons:,} steps before the first iteration"] if lessons else []),
            *super().timeline(),
            f"{adversarial} {self.when(s.adversarial_start)}",
            f"{semi} {self.when(s.semi_start)}",
        ]

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy."""
        s = self._config.semi.adversarial
        please, believe = clock.progress >= s.adversarial_start, clock.progress >= s.semi_start
        if s.labelled_first and please and (unlabelled is None or not believe):
            return self._pleasing_step(labelled, clock)
        if unlabelled is None or not (please or believe):
            return self.supervised_step(labelled, clock)
        known, unknown, *changed = self.forward(
            labelled.image, unlabelled.image, *self._changed(unlabelled.image, clock)
        )
        with frozen(self.learners["discriminator"].module) as judge:
            on_known = judge(probabilities(known.logits), known.features)
            on_unknown = judge(probabilities(unknown.logits), unknown.features)
        terms = {"L_seg": self.known_loss(known, labelled)}
        figures: dict[str, float] = {}
        if please:
            pleased = adversarial_loss(on_known, labelled.valid), adversarial_loss(on_unknown)
            terms["L_adv"] = s.weight_labelled * pleased[0]
            terms["L_adv_unlabelled"] = s.weight_unlabelled * pleased[1]
            figures |= {"L_adv": float(pleased[0].detach()), "L_adv_unlabelled": float(pleased[1].detach())}
        confidence = on_unknown.detach().sigmoid()
        marked = foreground(decided(unknown.logits.detach())) > 0
        trusted = trusted_pixels(confidence, s.threshold, marked if s.balance != "none" else None)
        if s.sure > 0.5:
            trusted = trusted * sure_pixels(unknown.probability, s.sure)
        if believe:
            asked = changed[0] if changed else unknown
            semi = trusted_loss(asked.logits, trusted, s.semi_bce, s.semi_dice, s.balance, unknown.logits)
            terms["L_semi"] = s.weight_semi * semi
            figures["L_semi"] = float(semi.detach())
        figures["D_on_unlabelled"] = float(confidence.mean())
        figures |= unlabelled_figures(unknown.probability, trusted, "trusted")
        fakes = (unknown.probability, unknown.features.detach()) if s.remain else None
        return self.conclude(labelled, known, terms, figures, clock, fakes)

    def _changed(self, image: Tensor, clock: Clock) -> list[Tensor]:
        """The strong view of unlabelled crops, where L_semi is asked of one."""
        s, config = self._config.semi.adversarial, self._config
        if not s.strong_view or clock.progress < s.semi_start:
            return []
        draw = self.draw(clock, image.device, salt=2)
        return [strong(image, config.semi.strong, config.sampling.hu_window, draw)]

    def _pleasing_step(self, labelled: LabelledTensors, clock: Clock) -> Outcome:
        """L = L_seg(x_l) + a L_adv(x_l): the fully supervised stage of Tan et al. (Eq. 2)."""
        (known,) = self.forward(labelled.image)
        with frozen(self.learners["discriminator"].module) as judge:
            pleased = adversarial_loss(judge(probabilities(known.logits), known.features), labelled.valid)
        weight = self._config.semi.adversarial.weight_labelled
        terms = {"L_seg": self.known_loss(known, labelled), "L_adv": weight * pleased}
        return self.conclude(labelled, known, terms, {"L_adv": float(pleased.detach())}, clock)


def trusted_pixels(confidence: Tensor, threshold: TrustConfig, marked: Tensor | None = None) -> Tensor:
    """1 where the confidence (B, 1, H, W) reaches T, else 0.

    With T a quantile, it is that of the batch, or, given `marked`, of its marked and unmarked pixels each by
    themselves: the same share of both is trusted (class-balanced self-training, Zou 2018).
    """
    if not threshold.quantile:
        return (confidence >= threshold.value).to(confidence.dtype)
    if marked is None:
        return (confidence >= _quantile(confidence, threshold.value)).to(confidence.dtype)
    needed = torch.full_like(confidence, torch.inf)
    for group in (marked, ~marked):
        if group.any():
            needed = torch.where(group, _quantile(confidence[group], threshold.value), needed)
    return (confidence >= needed).to(confidence.dtype)


def _quantile(values: Tensor, share: float) -> Tensor:
    """The smallest value that at least `share` of the values do not exceed; of any number of values."""
    flat = values.flatten()
    return flat.kthvalue(max(1, round(share * flat.numel()))).values
