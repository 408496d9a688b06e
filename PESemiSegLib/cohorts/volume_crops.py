"""Batches of three-dimensional crops: the same block of one or both phases of a patient, and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.cohorts.anchors import EMBOLUS, LUNG
from PESemiSegLib.cohorts.augment import VolumeAugmentConfig, turn_in_plane, warp
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.replay import HardSpots
from PESemiSegLib.cohorts.sampling import LabelledBatch, SamplingConfig
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.preprocess import window_in_place

_AIR_HU = -1024


@dataclass(frozen=True)
class PhaseStack:
    """The scans of one patient on one grid, in the order of the network's inputs; the first carries the mask.

    All arrays are (z, y, x) of the same shape.
    """

    phases: tuple[CachedVolume, ...]

    def __post_init__(self) -> None:
        first = self.phases[0]
        if first.mask is None:
            raise InputError("A labelled set holds a scan without a mask.")
        if any(phase.image.shape != first.image.shape for phase in self.phases):
            raise InputError("The scans of a pair lie on different grids; register them first.")

    @property
    def mask(self) -> np.ndarray:
        """uint8 (z, y, x)."""
        assert self.phases[0].mask is not None
        return self.phases[0].mask

    @property
    def emboli(self) -> np.ndarray:
        """Points (N, 3) on emboli, (z, y, x)."""
        return self._points(EMBOLUS)

    @property
    def lung(self) -> np.ndarray:
        """Points (N, 3) in the lungs, (z, y, x); without any found, all that are worth looking at."""
        points = self._points(LUNG)
        return points if len(points) else self.phases[0].anchors[:, 1:]

    def _points(self, kind: int) -> np.ndarray:
        anchors = self.phases[0].anchors
        return anchors[anchors[:, 0] == kind, 1:]


class VolumeCrops:
    """Draws blocks of `size` (z, y, x) voxels; the batch of an iteration depends on seed and iteration alone.

    `config.emboli` is the share of crops about an embolus; the others lie about a point in the lungs of any
    patient, so that the place alone does not tell a crop with PE. `jitter` is the largest offset of both as a
    share of the crop. What lies beyond a scan is air ("spatial padding").
    """

    def __init__(
        self,
        patients: Sequence[PhaseStack],
        size: tuple[int, int, int],
        config: SamplingConfig,
        seed: int = 0,
    ) -> None:
        if not patients:
            raise InputError("There is no pair of scans to draw crops from; check role and split.")
        self.patients, self.size, self.config, self.seed = list(patients), size, config, seed
        self.hard = HardSpots(config.replay_capacity)  # stays empty: blocks are not replayed
        self._with_emboli = [n for n, patient in enumerate(self.patients) if len(patient.emboli)]

    def batch(self, iteration: int) -> LabelledBatch:
        """image float32 (B, phases, z, y, x) in [-1, 1]; mask float32 (B, 1, z, y, x)."""
        rng = np.random.default_rng([self.seed, iteration])
        images, masks, places = [], [], []
        for _ in range(self.config.batch):
            number, corner = self._place(rng)
            change = _Change.draw(self.config.volume, rng)
            patient = self.patients[number]
            blocks = [change.applied(_block(p.image, corner, self.size, _AIR_HU)) for p in patient.phases]
            image = np.stack(blocks).astype(np.float32)
            images.append(window_in_place(image, self.config.hu_window))
            share = change.applied(_block(patient.mask, corner, self.size, 0) * np.uint8(255), fill=0)
            masks.append((share > 127)[None].astype(np.float32))
            places.append((number, corner[0]))
        volumes, slices = np.array(places).T
        return LabelledBatch(
            np.stack(images), np.stack(masks), volumes, slices, np.zeros((len(images), 2, 3))
        )

    def _place(self, rng: np.random.Generator) -> tuple[int, tuple[int, int, int]]:
        """A patient's number and the first voxel of a block, which may lie before the scan."""
        if self._with_emboli and rng.random() < self.config.emboli:
            number = self._with_emboli[rng.integers(len(self._with_emboli))]
            points = self.patients[number].emboli
        else:
            number = int(rng.integers(len(self.patients)))
            points = self.patients[number].lung
        reach = self.config.jitter * np.array(self.size)
        first = points[rng.integers(len(points))] + rng.uniform(-reach, reach) - np.array(self.size) / 2.0
        shape = self.patients[number].mask.shape
        corner = [
            round(float(np.clip(at, 0, length - size))) if length >= size else -((size - length) // 2)
            for at, length, size in zip(first, shape, self.size, strict=True)
        ]
        return number, (corner[0], corner[1], corner[2])


@dataclass(frozen=True)
class _Change:
    """What is done to all phases and the mask of a crop: flips along (z, y, x), and a turn in the plane."""

    flips: tuple[int, ...]
    degrees: float

    @classmethod
    def draw(cls, config: VolumeAugmentConfig, rng: np.random.Generator) -> _Change:
        flips = tuple(np.flatnonzero(rng.random(3) < config.flip_probability).tolist())
        turned = rng.random() < config.rotation_probability
        angle = rng.uniform(-config.rotation_deg, config.rotation_deg)
        return cls(flips, angle if turned else 0.0)

    def applied(self, block: np.ndarray, fill: int = _AIR_HU) -> np.ndarray:
        """The changed copy of a block (z, y, x), of the same type."""
        block = np.flip(block, self.flips)
        if not self.degrees:
            return np.ascontiguousarray(block)
        transform = turn_in_plane(block.shape[1:], self.degrees)
        return np.stack([warp(np.ascontiguousarray(p), transform, block.shape[1:], fill) for p in block])


def _block(
    values: np.ndarray, corner: tuple[int, int, int], size: tuple[int, int, int], fill: int
) -> np.ndarray:
    """The voxels of a block, copied; `fill` beyond the array."""
    block = np.full(size, fill, values.dtype)
    inside, source = [], []
    for at, length, whole in zip(corner, size, values.shape, strict=True):
        low, high = max(at, 0), min(at + length, whole)
        inside.append(slice(low - at, high - at))
        source.append(slice(low, high))
    block[tuple(inside)] = values[tuple(source)]
    return block
