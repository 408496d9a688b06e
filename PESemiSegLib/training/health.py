"""The health monitor: is the discriminator worth listening to, in figures and plain sentences (1A.9)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PESemiSegLib.training.health_styles import judge_styles

HEALTHY_LOSS = (0.2, 0.5)  # near marks
UNTRAINED_GAP = 0.02
_MIN_TRUSTED, _MAX_TRUSTED = 0.001, 0.999
_POSITIVES_JUMP = 10.0
_AFTER_LESSONS = "After D's last lessons: "
_SITE_GAP = 0.05  # of D's mean confidence on unlabelled crops: below it, D has learnt the site

Told = tuple[bool, str]
"""Whether a sentence calls for action, and the sentence."""


@dataclass(frozen=True)
class HealthReport:
    """Means since the last report, and what they mean. `warnings` are the sentences that call for action."""

    figures: dict[str, float]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]

    def before(self, lessons: HealthReport) -> HealthReport:
        """This report on the training, and then what `lessons` of D alone came to."""
        return HealthReport(
            figures=self.figures | lessons.figures,
            sentences=(*self.sentences, *(_AFTER_LESSONS + text for text in lessons.sentences)),
            warnings=(*self.warnings, *(_AFTER_LESSONS + text for text in lessons.warnings)),
        )


class HealthMonitor:
    """Gathers the figures of the steps and judges their means, once per report.

    Known figures: L_seg, L_D, L_D_near, L_adv, L_semi, D_on_masks, D_on_predictions, D_on_unlabelled (mean
    confidences), trusted_share, trusted_positive_share (of unlabelled pixels, by D), sure_share,
    sure_positive_share (by the network's own probability), positive_fraction_unlabelled.

    D is judged by L_D_near, its loss near marks. L_D, which it is trained on, is of whole crops: far from
    marks, where most pixels lie, mask and prediction are all but alike, and 0.69 is what that comes to.
    """

    def __init__(self, patience: int = 2) -> None:
        self._patience = patience
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._stuck_trust = 0
        self._first_positives: float | None = None
        self._training: HealthReport | None = None

    def add(self, figures: Mapping[str, float]) -> None:
        """Take in the figures of one step; those not finite are left out."""
        for name, value in figures.items():
            if math.isfinite(value):
                self._sums[name] += value
                self._counts[name] += 1

    def report(self, *, lessons: bool = False) -> HealthReport:
        """Judge what came in since the last report, and start anew; without figures nothing came in.

        lessons: of D alone. They say nothing of the training, so its last report is told with them.
        """
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        told = [
            *_judge_discriminator(means),
            *_judge_unlabelled(means),
            *self._judge_trust(means),
            *self._judge_positives(means),
            *judge_styles(means),
        ]
        report = HealthReport(
            figures=means,
            sentences=tuple(text for _, text in told),
            warnings=tuple(text for bad, text in told if bad),
        )
        if not lessons:
            self._training = report
        elif means and self._training is not None:
            return self._training.before(report)
        return report

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs for the reports to go on as if nothing had happened; JSON."""
        return {
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "stuck_trust": self._stuck_trust,
            "first_positives": self._first_positives,
            "training": None if self._training is None else asdict(self._training),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; an empty one starts anew."""
        self._sums = defaultdict(float, state.get("sums", {}))
        self._counts = defaultdict(int, state.get("counts", {}))
        self._stuck_trust = int(state.get("stuck_trust", 0))
        self._first_positives = state.get("first_positives")
        told = state.get("training")
        self._training = None if told is None else _report_of(told)

    def _judge_trust(self, means: Mapping[str, float]) -> Iterator[Told]:
        share = means.get("trusted_share")
        if share is None:
            return
        stuck = share < _MIN_TRUSTED or share > _MAX_TRUSTED
        self._stuck_trust = self._stuck_trust + 1 if stuck else 0
        marked = means.get("trusted_positive_share")
        more = "" if marked is None else f", and {marked:.1%} of the marked ones"
        yield False, f"D trusts {share:.1%} of the unlabelled pixels{more}."
        if self._stuck_trust >= self._patience:
            what = "nothing" if share < 0.5 else "everything"
            advice = "set the threshold as a quantile (q0.5), `sure` lower"
            yield True, f"The discriminator trusts {what}; {advice}."
        elif marked is not None and marked < _MIN_TRUSTED:
            advice = "balance='trust' with a quantile lets marks be learnt from"
            yield True, f"The discriminator trusts no marked pixel, background alone; {advice}."

    def _judge_positives(self, means: Mapping[str, float]) -> Iterator[Told]:
        positives = means.get("positive_fraction_unlabelled")
        if positives is None:
            return
        yield False, f"{positives:.3%} of the unlabelled pixels are marked."
        if self._first_positives is None:
            self._first_positives = positives if positives > 0 else None
            return
        ratio = positives / self._first_positives
        if ratio > _POSITIVES_JUMP or ratio < 1 / _POSITIVES_JUMP:
            advice = "lower the weights of the unlabelled terms"
            yield True, f"The marked share of unlabelled pixels changed {ratio:.3g}-fold; {advice}."


def _report_of(stored: Mapping[str, Any]) -> HealthReport:
    return HealthReport(dict(stored["figures"]), tuple(stored["sentences"]), tuple(stored["warnings"]))


def _judge_discriminator(means: Mapping[str, float]) -> Iterator[Told]:
    loss = means.get("L_D_near")
    if loss is None:
        if "L_D" in means:
            yield False, "The discriminator has seen no marks yet: nothing can be said of it."
    else:
        low, high = HEALTHY_LOSS
        if loss < low:
            advice = "lower its rate or soften the masks it sees"
            yield True, f"L_D near marks is {loss:.2f}, below {low}: the discriminator wins; {advice}."
        elif loss > high:
            blind = "the discriminator is still learning (0.69 = blind)"
            yield False, f"L_D near marks is {loss:.2f}, above {high}: {blind}."
        else:
            yield False, f"L_D near marks is {loss:.2f}, within the healthy {low} to {high}."
    if "D_on_masks" in means and "D_on_predictions" in means:
        masks, predictions = means["D_on_masks"], means["D_on_predictions"]
        figures = f"{masks:.2f} on true masks, {predictions:.2f} on predictions"
        yield False, f"Mean confidence near marks: {figures}."
        if abs(masks - predictions) < UNTRAINED_GAP:
            advice = "give it a longer start or, where it sees features, weigh them less (feature_weight)"
            text = "tells masks from predictions by less than 0.02: treat it as untrained"
            yield True, f"The discriminator {text}; {advice}."


def _judge_unlabelled(means: Mapping[str, float]) -> Iterator[Told]:
    """What D and the network make of the unlabelled crops."""
    if "L_semi" in means:
        yield False, f"L_semi, the loss on unlabelled crops, is {means['L_semi']:.3g}."
    confidence = means.get("D_on_unlabelled")
    if confidence is not None:
        yield False, f"Mean confidence on unlabelled predictions: {confidence:.2f}."
        if confidence < _SITE_GAP and means.get("D_on_predictions", 0.0) > 2 * confidence:
            advice = "set remain to false or lower its rate"
            yield True, f"The discriminator knows the site, not the shape, of unlabelled crops; {advice}."
    sure = means.get("sure_share")
    if sure is not None:
        marked = means.get("sure_positive_share")
        more = "" if marked is None else f", and of {marked:.1%} of the marked ones"
        yield False, f"The network is sure of {sure:.1%} of the unlabelled pixels{more}."
        if sure < _MIN_TRUSTED:
            yield True, "The network is sure of nothing; lower the threshold of the pseudo labels."
