"""FROC: emboli found against false marks per scan as the threshold falls, with a band over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, draw_counts
from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.figures import by_patient

FALSE_MARK_RATES = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Froc:
    """Points in the order of falling threshold: threshold, false marks per scan, share of emboli found.

    The curve ends where false marks are most: at lower thresholds marks grow together, and counting them
    says nothing any more. resampled: false marks and share of the curves of resampled patients; none where
    fewer than two patients have emboli.
    """

    thresholds: np.ndarray
    false_marks: np.ndarray
    sensitivity: np.ndarray
    resampled: tuple[tuple[np.ndarray, np.ndarray], ...]

    def at(self, rate: float) -> float:
        """The share found at no more than `rate` false marks per scan, interpolated."""
        return float(_at(self.false_marks, self.sensitivity, np.array([rate]))[0])

    def band(self, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of the 95 % band of the share at these false marks per scan; NaN where there is none."""
        # Asked where it is needed: between points kept once, a long curve's steep beginning would be lost.
        if not self.resampled:
            return np.full(len(rates), np.nan), np.full(len(rates), np.nan)
        low, high = np.percentile([_at(*curve, rates) for curve in self.resampled], [2.5, 97.5], axis=0)
        return low, high


def froc(results: Sequence[CaseResult], resamples: int = 500, seed: int = 0) -> Froc | None:
    """The curve of one model, pooled over scans; None without emboli or without curves."""
    points = [result.curve for result in results]
    emboli = sum(len(result.lesions.lesions) for result in results)
    if not emboli or not points or not points[0]:
        return None
    order = np.argsort([-p.threshold for p in points[0]])
    thresholds = np.array([points[0][n].threshold for n in order])
    groups = list(by_patient(results).values())

    def table(value: str) -> np.ndarray:
        """(patients, thresholds), summed over each patient's scans."""
        scans = [[[getattr(r.curve[n], value) for n in order] for r in group] for group in groups]
        return np.array([np.sum(group, axis=0) for group in scans], float)

    found, false = table("found"), table("false_marks")
    there = np.array([sum(len(r.lesions.lesions) for r in group) for group in groups], float)
    scans = np.array([len(group) for group in groups], float)
    rate, share = _curve(found.sum(0), false.sum(0), there.sum(), scans.sum())
    # One patient's emboli, drawn again and again, are the same emboli.
    drawn = draw_counts(len(groups), resamples if np.count_nonzero(there) > 1 else 0, seed)
    totals = zip(drawn @ found, drawn @ false, drawn @ there, drawn @ scans, strict=True)
    resampled = tuple(_curve(*total) for total in totals if total[2])
    return Froc(thresholds[: len(rate)], rate, share, resampled)


def sensitivity_at(
    results: Sequence[CaseResult], rates: Sequence[float] = FALSE_MARK_RATES
) -> dict[str, Interval]:
    """The share of emboli found at given false marks per scan, with the band's interval."""
    curve = froc(results)
    if curve is None:
        return {}
    patients = len(by_patient(results))
    return {
        f"{rate:g} false marks per scan": Interval(curve.at(rate), float(low), float(high), patients)
        for rate, low, high in zip(rates, *curve.band(np.array(rates)), strict=True)
        if rate <= curve.false_marks[-1]
    }


def _curve(
    found: np.ndarray, false: np.ndarray, emboli: float, scans: float
) -> tuple[np.ndarray, np.ndarray]:
    """False marks per scan (non-decreasing) and share found, up to the threshold of most false marks."""
    last = len(false) - int(np.argmax(false[::-1]))
    rate = np.maximum.accumulate(false[:last] / scans)
    return rate, np.maximum.accumulate(found[:last] / emboli)


def _at(rate: np.ndarray, share: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The share at given rates: interpolated, from nothing at 0, and flat beyond the last point."""
    # Of points at one rate the best counts; interp takes the last of equals, which is the best.
    return np.interp(grid, np.concatenate([[0.0], rate]), np.concatenate([[0.0], share]))
