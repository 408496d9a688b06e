"""Cross-phase mutual learning (CPMN, MICCAI 2024): a contrast pathway teaches the non-contrast one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.networks.build import build_segmenter
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.layout import module_on
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses_cpmn import alignment_loss, centre_loss, divergence, mimicry
from PESemiSegLib.training.settings_cpmn import CpmnConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method

if TYPE_CHECKING:  # MONAI takes seconds to load
    from PESemiSegLib.networks.cpmn import Reading

_SEED = 2  # the segmenter has seed + 0


class CrossPhaseMutualLearning(Method):
    """L = L_cls + L_seg + l1 L_KL + l2 L_align + l3 L_disc (Eq. 5); L_KL and L_align teach one pathway alone.

    Crops (B, 2, z, y, x): of the scan without contrast medium, and of the one with it; with one pathway
    (B, 1, z, y, x). The class of a crop is PE where its mask holds a voxel. The first pathway is exported.
    """

    def __init__(self, segmenter: Learner, discriminator: Learner | None, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        self.settings: CpmnConfig = config.semi.cpmn
        if self.settings.pathways == "both":
            fresh = build_segmenter(config.network, seed=config.seed + _SEED)
            module = module_on(next(segmenter.module.parameters()).device, fresh)
            self.learners["contrast"] = Learner("contrast", module, config.segmenter_optimiser)

    def timeline(self) -> list[str]:
        """See Strategy."""
        s, centres = self.settings, self._config.losses.centres
        first, *_ = super().timeline()
        sentences = [first, f"L_cls, the class of the crop, by a pathway's head: weight {s.classification:g}"]
        if centres:
            start = self.when(self._config.losses.centres_start)
            sentences.append(f"L_disc, dense centres of the classes: weight {centres:g}, {start}")
        if s.pathways == "one":
            return sentences
        ways = "both heads from each other" if s.taught_by == "mutual" else "from the contrast pathway's head"
        if s.divergence:
            sentences.append(f"L_KL, learnt {ways}: weight {s.divergence:g}")
        if s.alignment:
            sentences.append(f"L_align, the contrast pathway's affinities: weight {s.alignment:g}")
        return sentences

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy; unlabelled crops are not used."""
        readings = [
            self._read(learner, labelled.image[:, n : n + 1])
            for n, learner in enumerate(self.learners.values())
        ]
        losses = [self._own(reading, labelled.mask) for reading in readings]
        for own, other in zip(losses, self._taught(*readings), strict=False):
            own |= other
        figures: dict[str, float] = {}
        for (name, learner), terms in zip(self.learners.items(), losses, strict=True):
            mark = "" if name == "segmenter" else f"_{name}"
            figures |= {f"{term}{mark}": float(value.detach()) for term, value in terms.items()}
            weights = {term: self._weight(term, clock) for term in terms}
            weighted = {term: weights[term] * value for term, value in terms.items() if weights[term]}
            figures[f"gradient_norm{mark}"] = learner.descend(weighted)
        return Outcome(figures, None)

    def _own(self, reading: Reading, mask: Tensor) -> dict[str, Tensor]:
        """The terms that a pathway has by itself, without their weights; those of weight 0 are left out."""
        terms = {"L_seg": self.loss(reading.logits, mask)}
        if self.settings.classification:
            terms["L_cls"] = F.cross_entropy(reading.classes, mask.flatten(1).amax(1).long())
        if self._config.losses.centres:
            terms["L_disc"] = centre_loss(reading.features, mask)
        return terms

    def _taught(self, plain: Reading, contrast: Reading | None = None) -> list[dict[str, Tensor]]:
        """What the pathways learn from each other, the first and the second one."""
        s = self.settings
        first: dict[str, Tensor] = {}
        second: dict[str, Tensor] = {}
        if contrast is None:
            return [first, second]
        if s.divergence and s.taught_by == "mutual":
            first["L_KL"] = mimicry(plain.classes, contrast.classes)
            second["L_KL"] = mimicry(contrast.classes, plain.classes)
        elif s.divergence:
            first["L_KL"] = divergence(plain.classes, contrast.classes)
        if s.alignment:
            first["L_align"] = alignment_loss(plain.deepest, contrast.deepest, s.grid, s.reach)
        return [first, second]

    def _weight(self, term: str, clock: Clock) -> float:
        s, centres = self.settings, self._config.losses.centres_at(clock.progress)
        weights = {"L_cls": s.classification, "L_KL": s.divergence, "L_align": s.alignment, "L_disc": centres}
        return weights.get(term, 1.0)

    def _read(self, learner: Learner, image: Tensor) -> Reading:
        with self.precision(image.device.type):
            reading: Reading = learner.module.read(image)  # type: ignore[operator]
        return reading
