"""Connected marks and the emboli they meet: labelled once, then counted for any smallest size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours


@dataclass(frozen=True)
class Emboli:
    """What is true in a part of a scan, all arrays (z, y, x) of that part.

    mask: what the annotator marked. instances: one number per embolus, 0 elsewhere. size: voxels by number,
    in the whole scan. annotated: voxels of the annotator's mask in the whole scan.
    """

    mask: np.ndarray
    instances: np.ndarray
    size: np.ndarray
    annotated: int

    @classmethod
    def of(cls, mask: np.ndarray, instances: np.ndarray | None, box: tuple[slice, ...]) -> Emboli:
        """The emboli inside `box` of a scan; without instances the 26-connected components of the mask."""
        if instances is None:
            instances, _ = ndimage.label(mask, TOUCHING)
        size = np.bincount(instances[instances > 0].astype(np.int64), minlength=1)
        return cls(mask[box], instances[box], size, int(np.count_nonzero(mask)))

    def part(self, box: tuple[slice, ...]) -> Emboli:
        """The same with a smaller part of the arrays."""
        return Emboli(self.mask[box], self.instances[box], self.size, self.annotated)

    @property
    def count(self) -> int:
        """Emboli in the whole scan."""
        return int(np.count_nonzero(self.size[1:]))


@dataclass(frozen=True)
class Counts:
    """Marks of one setting: covered holds the marked voxels by embolus number, dice is NaN without a mask."""

    marks: int
    false_marks: int
    covered: np.ndarray
    hits: int
    voxels: int

    def found(self, size: np.ndarray, min_overlap: float = 0.0) -> int:
        """Emboli that are covered by at least one voxel and by `min_overlap` of their volume."""
        reached = (self.covered[1:] >= 1) & (self.covered[1:] >= min_overlap * size[1:])
        return int(np.count_nonzero(reached))

    def dice(self, annotated: int) -> float:
        """Dice with the annotator's mask of so many voxels; NaN where it is empty."""
        return 2.0 * self.hits / (self.voxels + annotated) if annotated else math.nan

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.marks + other.marks,
            self.false_marks + other.false_marks,
            self.covered + other.covered,
            self.hits + other.hits,
            self.voxels + other.voxels,
        )


@dataclass(frozen=True)
class Marks:
    """The marks of one mask: voxels and true voxels by mark, and how much each covers of which embolus."""

    labels: np.ndarray  # the number of the mark, 0 elsewhere
    size: np.ndarray
    hits: np.ndarray
    is_true: np.ndarray
    meetings: np.ndarray  # (pairs, 2): mark, embolus
    shared: np.ndarray  # (pairs,): voxels of the embolus within the mark
    emboli: int  # highest number of an embolus

    @classmethod
    def find(cls, mask: np.ndarray, truth: Emboli) -> Marks:
        """Label the marks once; every smallest size is then a choice among them."""
        labels, count = ndimage.label(mask, TOUCHING)
        inside = mask & (truth.instances > 0)
        true = mask & truth.mask
        pairs = np.column_stack([labels[inside], truth.instances[inside]])
        meetings, shared = np.unique(pairs, axis=0, return_counts=True)
        touching = np.zeros(count + 1, dtype=bool)
        touching[labels[inside]] = touching[labels[true]] = True
        return cls(
            labels=labels,
            size=np.bincount(labels[mask], minlength=count + 1),
            hits=np.bincount(labels[true], minlength=count + 1),
            is_true=touching,
            meetings=meetings,
            shared=shared,
            emboli=len(truth.size) - 1,
        )

    def voxels_in(self, core: np.ndarray) -> np.ndarray:
        """How many voxels of `core`, bool and within the marks, each mark holds."""
        return np.bincount(self.labels[core], minlength=len(self.size))

    def counts(self, smallest_voxels: float, counted: np.ndarray | None = None) -> Counts:
        """The figures when marks are dropped of which fewer voxels, or none at all, are counted.

        counted: voxels by mark, such as `voxels_in` of their core; all of them by default.
        """
        counted = self.size if counted is None else counted
        kept = (counted >= smallest_voxels) & (counted > 0)
        kept[0] = False  # label 0 is no mark
        met = kept[self.meetings[:, 0]]
        covered = np.bincount(self.meetings[met, 1], self.shared[met], self.emboli + 1)
        return Counts(
            marks=int(np.count_nonzero(kept)),
            false_marks=int(np.count_nonzero(kept & ~self.is_true)),
            covered=covered,
            hits=int(self.hits[kept].sum()),
            voxels=int(self.size[kept].sum()),
        )


def none(truth: Emboli) -> Counts:
    """The counts where nothing is marked."""
    return Counts(0, 0, np.zeros(len(truth.size)), 0, 0)
