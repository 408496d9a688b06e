"""Which emboli were found and which marks are false, by a stated rule.

An embolus is found when marks cover at least `min_overlap` of its volume, and at least one voxel. A mark,
that is a 26-connected component of the prediction, is false when it shares no voxel with any embolus nor with
the annotator's mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

SIZE_BINS_MM3 = (0.0, 50.0, 200.0, 1000.0, float("inf"))
UNKNOWN = "unknown"
CENTRAL = ("saddle", "central", "main", "lobar")  # arteries of the centre; segmental ones are the periphery


@dataclass(frozen=True)
class Lesion:
    """One embolus and whether it was found.

    location: the artery's level as the cohort states it. region: central, peripheral or unknown. covered:
    share of its volume that is marked.
    """

    id: int
    volume_mm3: float
    location: str
    covered: float
    found: bool
    region: str = UNKNOWN


@dataclass(frozen=True)
class LesionReport:
    """All emboli of a scan, the number of marks, and how many of them are false."""

    lesions: tuple[Lesion, ...]
    marks: int
    false_marks: int

    @property
    def found(self) -> int:
        """How many emboli were found."""
        return sum(lesion.found for lesion in self.lesions)


def match_lesions(
    prediction: np.ndarray,
    truth: np.ndarray,
    voxel_mm3: float,
    *,
    instances: np.ndarray | None = None,
    locations: Mapping[int, str] | None = None,
    min_overlap: float = 0.0,
    region_of: Callable[[np.ndarray], str] | None = None,
) -> LesionReport:
    """Match marks with emboli, all arrays (z, y, x) on one grid.

    instances: one integer per embolus, 0 elsewhere; without it the 26-connected components of `truth` count.
    locations: a word per instance, such as "central" or "segmental". region_of: asked for the region of an
    embolus whose location is not stated, with its voxel indices (n, 3).
    """
    structure = np.ones((3,) * prediction.ndim, dtype=bool)
    if instances is None:
        instances, _ = ndimage.label(truth != 0, structure)
    marked = prediction != 0
    sizes = np.bincount(instances[instances > 0].astype(np.int64), minlength=1)
    covered = np.bincount(instances[marked].astype(np.int64), minlength=len(sizes))
    lesions = []
    for label in np.flatnonzero(sizes):
        share = covered[label] / sizes[label]
        location = (locations or {}).get(int(label), UNKNOWN)
        region = region_named(location)
        if region == UNKNOWN and region_of is not None:
            region = region_of(np.argwhere(instances == label))
        lesions.append(
            Lesion(
                id=int(label),
                volume_mm3=float(sizes[label] * voxel_mm3),
                location=location,
                covered=float(share),
                found=bool(covered[label] >= 1 and share >= min_overlap),
                region=region,
            )
        )
    components, marks = ndimage.label(marked, structure)
    touching = np.unique(components[(instances != 0) | (truth != 0)])
    true_marks = int(np.count_nonzero(touching))
    return LesionReport(tuple(lesions), int(marks), int(marks) - true_marks)


def region_named(location: str) -> str:
    """Central for the trunk, main and lobar arteries, peripheral for segmental ones and beyond."""
    if location in CENTRAL:
        return "central"
    return "peripheral" if location.endswith("segmental") or location == "peripheral" else UNKNOWN


def size_bin(volume_mm3: float) -> str:
    """The name of the size bin, such as `50-200 mm3`."""
    for low, high in pairwise(SIZE_BINS_MM3):
        if low <= volume_mm3 < high:
            return f">= {low:.0f} mm3" if high == float("inf") else f"{low:.0f}-{high:.0f} mm3"
    raise ValueError(f"a volume of {volume_mm3} mm3")
