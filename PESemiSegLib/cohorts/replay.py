"""The places that were read worst, to be drawn again: hard-example mining (OHEM, Shrivastava 2016).

Rare false marks (a lymph node, a mucus plug) and missed clots are met once in some hundred random crops; what
they teach is forgotten before the next one comes. Every crop of training is scored anyway, so the worst spots
are kept in a short list, drawn again, and dropped when they are read well.
"""

from __future__ import annotations

import numpy as np

from PESemiSegLib.errors import InputError

COLUMNS = 5
"""Of a spot: volume (its number), z, y, x in voxels of the cache, and how wrong it was (0 to 1)."""

_NEAR_PIXELS, _NEAR_SLICES = 12.0, 1.0  # so near to another spot, it is the same mistake
_LEARNT = 0.1


class HardSpots:
    """A list of at most `capacity` spots, worst first; `merge` renews it, `draw` picks from it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._spots = np.zeros((0, COLUMNS), np.float32)

    def __len__(self) -> int:
        return len(self._spots)

    def draw(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """The volume's number and the (z, y, x) of one of the spots, each alike."""
        spot = self._spots[rng.integers(len(self._spots))]
        return int(spot[0]), spot[1:4]

    def merge(self, seen: np.ndarray) -> None:
        """Take in freshly scored spots, float32 (N, COLUMNS): the newest score of a place counts.

        Spots that were read well leave the list.
        """
        spots = np.concatenate([self._spots, seen.astype(np.float32)])
        keep = np.ones(len(spots), bool)
        for index in range(len(spots)):
            later = spots[index + 1 :]
            apart = np.abs(later - spots[index])
            same = (
                (apart[:, 0] == 0)
                & (apart[:, 1] <= _NEAR_SLICES)
                & (apart[:, 2] <= _NEAR_PIXELS)
                & (apart[:, 3] <= _NEAR_PIXELS)
            )
            keep[index] = not same.any()
        spots = spots[keep & (spots[:, 4] > _LEARNT)]
        self._spots = spots[np.argsort(-spots[:, 4], kind="stable")][: self._capacity]

    def state(self) -> np.ndarray:
        """The list, float32 (N, COLUMNS)."""
        return self._spots

    def restore(self, spots: np.ndarray) -> None:
        """The inverse of `state`; raises InputError for an array that is no such list."""
        if spots.ndim != 2 or spots.shape[1] != COLUMNS:
            raise InputError("The checkpoint's list of hard spots is damaged; start a new run.")
        self._spots = spots.astype(np.float32)


def worst_spots(
    probability: np.ndarray, mask: np.ndarray, volumes: np.ndarray, slices: np.ndarray, transforms: np.ndarray
) -> np.ndarray:
    """Where each crop was read worst: float32 (B, COLUMNS).

    probability, mask: float32 (B, C, H, W), of which the worst class counts; volumes, slices: (B,);
    transforms: (B, 2, 3), crop to slice. The rim of a mask, one pixel inwards and outwards, is nobody's
    mistake. Wrong: the mean over 9 x 9 pixels.
    """
    import cv2  # part of the [train] extra

    square = np.ones((3, 3), np.uint8)
    spots = np.zeros((len(probability), COLUMNS), np.float32)
    for spot, p, m, volume, z, transform in zip(
        spots, probability, mask, volumes, slices, transforms, strict=True
    ):
        rim = np.max([cv2.dilate(plane, square) - cv2.erode(plane, square) for plane in m], 0)
        error = np.abs(p - m).max(0)
        wrong = cv2.blur(error * (1.0 - rim), (9, 9), borderType=cv2.BORDER_CONSTANT)
        y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
        place = transform @ np.array([x, y, 1.0])
        spot[:] = volume, z, place[1], place[0], wrong[y, x]
    return spots
