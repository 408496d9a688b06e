"""The health monitor: is the discriminator worth listening to, in figures and plain sentences (1A.9)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

HEALTHY_LOSS = (0.2, 0.5)
UNTRAINED_GAP = 0.02
_MIN_TRUSTED, _MAX_TRUSTED = 0.001, 0.999
_POSITIVES_JUMP = 10.0


@dataclass(frozen=True)
class HealthReport:
    """Means since the last report, and what they mean. `warnings` are the sentences that call for action."""

    figures: dict[str, float]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """No warning, and the discriminator has been looked at."""
        return not self.warnings and "L_D" in self.figures


class HealthMonitor:
    """Gathers the figures of the steps and judges their means, once per report.

    Known figures: L_seg, L_D, L_adv, L_semi, D_on_masks, D_on_predictions, D_on_unlabelled (mean
    confidences), trusted_share, trusted_positive_share (of unlabelled pixels), positive_fraction_unlabelled.
    """

    def __init__(self, patience: int = 2) -> None:
        self._patience = patience
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._stuck_trust = 0
        self._first_positives: float | None = None

    def add(self, figures: Mapping[str, float]) -> None:
        """Take in the figures of one step; those not finite are left out."""
        for name, value in figures.items():
            if math.isfinite(value):
                self._sums[name] += value
                self._counts[name] += 1

    def report(self) -> HealthReport:
        """Judge what came in since the last report, and start anew."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        told: list[tuple[bool, str]] = [*_judge_discriminator(means), *self._judge_trust(means)]
        return HealthReport(
            figures=means,
            sentences=tuple(text for _, text in told),
            warnings=tuple(text for bad, text in told if bad),
        )

    def _judge_trust(self, means: Mapping[str, float]) -> list[tuple[bool, str]]:
        told: list[tuple[bool, str]] = []
        share = means.get("trusted_share")
        if share is not None:
            stuck = share < _MIN_TRUSTED or share > _MAX_TRUSTED
            self._stuck_trust = self._stuck_trust + 1 if stuck else 0
            told.append((False, f"{share:.1%} of the unlabelled pixels are trusted."))
            if self._stuck_trust >= self._patience:
                what = "nothing" if share < 0.5 else "everything"
                told.append(
                    (True, f"The discriminator trusts {what}; set the threshold as a quantile, such as q0.5.")
                )
        positives = means.get("positive_fraction_unlabelled")
        if positives is not None and positives > 0:
            if self._first_positives is None:
                self._first_positives = positives
            ratio = positives / self._first_positives
            if ratio > _POSITIVES_JUMP or ratio < 1 / _POSITIVES_JUMP:
                told.append(
                    (
                        True,
                        f"The marked share of unlabelled pixels changed {ratio:.2g}-fold; lower the weights.",
                    )
                )
        return told


def _judge_discriminator(means: Mapping[str, float]) -> list[tuple[bool, str]]:
    told: list[tuple[bool, str]] = []
    loss = means.get("L_D")
    if loss is not None:
        low, high = HEALTHY_LOSS
        if loss < low:
            advice = "lower its rate or soften the masks it sees"
            told.append((True, f"L_D is {loss:.2f}, below {low}: the discriminator wins; {advice}."))
        elif loss > high:
            told.append(
                (
                    False,
                    f"L_D is {loss:.2f}, above {high}: the discriminator is still learning (0.69 = blind).",
                )
            )
        else:
            told.append((False, f"L_D is {loss:.2f}, within the healthy {low} to {high}."))
    if "D_on_masks" in means and "D_on_predictions" in means:
        masks, predictions = means["D_on_masks"], means["D_on_predictions"]
        told.append(
            (
                False,
                f"Mean confidence near marks: {masks:.2f} on true masks, {predictions:.2f} on predictions.",
            )
        )
        if abs(masks - predictions) < UNTRAINED_GAP:
            text = "The discriminator tells masks from predictions by less than 0.02: treat it as untrained."
            told.append((True, text))
    return told
