"""Metrics of label maps image by image, as StitchNet's report gives them (Eq. 15 to 18, its Tables 2 and 3).

Of the pixels of an image, T labelled and P predicted as a class: IoU = |T & P| / |T or P| (its Eq. 18 prints
the inverse, ambiguity 17), F1 = 2 |T & P| / (|T| + |P|), precision = |T & P| / |P|, recall = |T & P| / |T|.
Of a class that is in one of both alone, what has no denominator is 0, as in scikit-learn; one that is in
neither has no figure in this image. An image is the box of the lungs in a slice: of all that is labelled
there, healthy lung included (its Section 4.4; there a network finds the lungs).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.classes import LabelResult

TITLES = ("IoU", "F1-Score", "Precision", "Recall")
BACKGROUND, OVERALL = "Background", "overall"
HEADING = "Over images, the lungs' box of each slice (mean ± 1.96 standard errors; overall: of the classes)"
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class ImageMean:
    """A figure's mean over images with 1.96 standard errors (NaN for one image), and how many those are."""

    mean: float
    error: float
    images: int

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "n/a"
        return f"{self.mean:.3f}" + ("" if math.isnan(self.error) else f" ± {self.error:.3f}")


def image_figures(
    prediction: np.ndarray, truth: np.ndarray, names: Sequence[str], healthy: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Of two label maps (z, y, x): by class, background last, float (images, TITLES); NaN where it is not.

    Label n is called names[n - 1]; those in `healthy` are no finding and count as background.
    """
    classes = [name for name in names if name not in healthy]
    merged = np.zeros(len(names) + 1, np.intp)  # label -> place in `classes`, from 1; background 0
    for value, name in enumerate(names, start=1):
        merged[value] = 0 if name in healthy else classes.index(name) + 1
    size = len(classes) + 1
    shown = [z for z in range(len(truth)) if truth[z].any()]
    rows = np.full((size, len(shown), len(TITLES)), np.nan)
    for image, z in enumerate(shown):
        box = _box(truth[z])
        pairs = merged[truth[z][box]] * size + merged[prediction[z][box]]
        table = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
        for value in range(size):
            rows[value, image] = _figures(table, value)
    return {name: rows[value] for value, name in enumerate(classes, start=1)} | {BACKGROUND: rows[0]}


def _box(plane: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns from the first to the last that holds a label."""
    ends = [np.flatnonzero(plane.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(int(each[0]), int(each[-1]) + 1) for each in ends)
    return rows, columns


def _figures(table: np.ndarray, value: int) -> tuple[float, ...]:
    """One class of a table of pixels by (true, predicted) class."""
    both, true, predicted = table[value, value], table[value].sum(), table[:, value].sum()
    if not true and not predicted:
        return (math.nan,) * len(TITLES)
    return (
        both / (true + predicted - both),
        2 * both / (true + predicted),
        both / predicted if predicted else 0.0,
        both / true if true else 0.0,
    )


def summarise_images(results: Sequence[LabelResult]) -> list[dict[str, Any]]:
    """The report's table: a row per class, background, and their plain mean, in figures and in errors.

    Empty where the results have no figures by image.
    """
    names = list(results[0].images) if results else []
    rows: list[dict[str, Any]] = [
        {"class": name, **_means([result.images[name] for result in results])} for name in names
    ]
    if not rows:
        return []
    overall: dict[str, Any] = {"class": OVERALL}
    for title in TITLES:
        known = [row[title] for row in rows if not math.isnan(row[title].mean)]
        count = max((part.images for part in known), default=0)
        means, errors = [part.mean for part in known], [part.error for part in known]
        overall[title] = ImageMean(_mean(means), _mean(errors), count)
    return [*rows, overall]


def _means(parts: Sequence[np.ndarray]) -> dict[str, ImageMean]:
    every = np.concatenate(parts)
    known = every[~np.isnan(every[:, 0])]
    count = len(known)
    means = known.mean(0) if count else np.full(len(TITLES), np.nan)
    errors = np.full(len(TITLES), np.nan)
    if count > 1:
        errors = _NORMAL_95 * known.std(0, ddof=1) / math.sqrt(count)
    return {
        title: ImageMean(float(mean), float(error), count)
        for title, mean, error in zip(TITLES, means, errors, strict=True)
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
