"""Batches of crops: which slice, which place, how often; labelled and unlabelled as two separate types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from PESemiSegLib.cohorts.anchors import EMBOLUS, LOOKALIKE, LUNG, VESSEL
from PESemiSegLib.cohorts.augment import (
    AugmentConfig,
    VolumeAugmentConfig,
    change_intensity,
    crop_transform,
    cut_out,
    warp,
    warp_labels,
)
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.replay import HardSpots
from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.volumes.preprocess import window_in_place

_AIR_HU = -1024


@dataclass(frozen=True)
class SamplingConfig:
    """How a batch is drawn: shares of crops on emboli, vessels and look-alikes; the rest lies in lung.

    `replay` comes first: that share is drawn from the list of what was read worst so far, once there is one.
    """

    batch: int = 4
    crop: int = 192
    context: int = 1  # adjacent slices as channels; the middle one is predicted
    emboli: float = 0.4
    vessels: float = 0.2
    lookalikes: float = 0.25  # soft tissue as dense and as small as clots: the false marks of tomorrow
    replay: float = 0.0  # see `cohorts.replay`
    replay_capacity: int = 384
    jitter: float = 0.3  # largest offset of the centre, as a share of the crop
    hu_window: tuple[float, float] = (-160.0, 240.0)
    lung_box: bool = False  # crops keep to the box of both lungs, and are centred on it where they are larger
    classes: int = 2  # of the masks, background included; "emboli" are then the marks of any class
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    volume: VolumeAugmentConfig = field(default_factory=VolumeAugmentConfig)  # of `volume_crops`

    def __post_init__(self) -> None:
        if self.batch < 1 or self.crop < 32 or self.crop % 16:
            raise ConfigError(
                "A batch needs at least 1 crop, and crops a multiple of 16 of at least 32 pixels."
            )
        if self.context < 1 or self.context % 2 == 0:
            raise ConfigError(f"context={self.context}: give an odd number of slices.")
        if (
            min(self.emboli, self.vessels, self.lookalikes) < 0
            or self.emboli + self.vessels + self.lookalikes > 1
            or not 0 <= self.jitter <= 0.5
        ):
            raise ConfigError(
                "The shares of emboli, vessels and look-alikes add to at most 1; jitter lies within 0 to 0.5."
            )
        if not 0 <= self.replay < 1 or self.replay_capacity < 1:
            raise ConfigError("replay is a share of 0 to below 1, from a list of at least 1 spot.")
        if not 2 <= self.classes <= 64:
            raise ConfigError("classes, background included, lie within 2 to 64.")
        if self.hu_window[0] >= self.hu_window[1]:
            raise ConfigError("The lower end of hu_window must lie below the upper one.")


@dataclass(frozen=True)
class ImageBatch:
    """What an unlabelled set gives: image float32 (B, context, H, W) in [-1, 1], and no field for a mask."""

    image: np.ndarray


@dataclass(frozen=True)
class LabelledBatch:
    """image float32 (B, context, H, W) in [-1, 1]; mask float32 (B, 1, H, W) of 0 and 1; where they lie.

    With more than two classes the mask is one-hot, (B, classes, H, W), background first. volume, z: int (B,),
    the number of the volume and its slice; transform: float64 (B, 2, 3), see `augment`. Of `volume_crops`:
    image (B, phases, z, y, x), mask (B, 1, z, y, x), z of the first slice, no transform.
    """

    image: np.ndarray
    mask: np.ndarray
    volume: np.ndarray
    z: np.ndarray
    transform: np.ndarray
    slices: int = 0  # that it was drawn from; where all crops are about emboli, those with marks


class LabelledSource(Protocol):
    """What the trainer draws labelled batches from; `hard` is the list of spots that were read worst."""

    hard: HardSpots

    def batch(self, iteration: int) -> LabelledBatch:
        """The batch of this iteration."""
        ...


class _Crops:
    """Draws crop centres; the batch of an iteration depends on the seed and the iteration alone."""

    def __init__(self, volumes: Sequence[CachedVolume], config: SamplingConfig, seed: int) -> None:
        if not volumes:
            raise InputError("There is no scan to draw crops from; check role and split in the manifest.")
        self.volumes = list(volumes)
        self.config = config
        self.seed = seed
        self._points = {
            kind: [np.flatnonzero(v.anchors[:, 0] == kind) for v in volumes]
            for kind in (LUNG, VESSEL, EMBOLUS, LOOKALIKE)
        }

    def _generator(self, iteration: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, iteration])

    def _draw(self, kind: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """A volume's number and the (z, y, x) of an anchor: all emboli's alike, others each patient alike."""
        kind = next(k for k in (kind, VESSEL, LUNG) if any(map(len, self._points[k])))
        points = self._points[kind]
        counts = np.array([len(p) for p in points], float)
        weight = counts if kind == EMBOLUS else (counts > 0).astype(float)
        chosen = int(rng.choice(len(points), p=weight / weight.sum()))
        anchors = self.volumes[chosen].anchors[points[chosen]]
        return chosen, anchors[rng.integers(len(anchors)), 1:]

    def _shares(self) -> tuple[tuple[int, float], ...]:
        """Of the crops about each kind of anchor; the rest is about lung."""
        config = self.config
        return (EMBOLUS, config.emboli), (VESSEL, config.vessels), (LOOKALIKE, config.lookalikes)

    def _kind(self, rng: np.random.Generator) -> int:
        draw = rng.random()
        for kind, share in self._shares():
            draw -= share
            if draw < 0:
                return kind
        return LUNG

    def _transform(self, volume: CachedVolume, anchor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size, reach = self.config.crop, self.config.jitter * self.config.crop
        centre = anchor[1:] + rng.uniform(-reach, reach, 2)
        half = (size - 1) / 2.0
        ends = [(0.0, n - 1.0) for n in volume.image.shape[1:]]
        if self.config.lung_box:
            ends = _lung_box(volume) or ends
        limits = [(min(lo + half, (lo + hi) / 2), max(hi - half, (lo + hi) / 2)) for lo, hi in ends]
        inside = [float(np.clip(c, *limit)) for c, limit in zip(centre, limits, strict=True)]
        return crop_transform((inside[0], inside[1]), size, self.config.augment, rng)

    def _image(
        self, volume: CachedVolume, z: int, transform: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        reach, last = self.config.context // 2, volume.image.shape[0] - 1
        planes = [
            warp(volume.image[min(max(k, 0), last)], transform, self.config.crop, _AIR_HU)
            for k in range(z - reach, z + reach + 1)
        ]
        return to_input(np.stack(planes).astype(np.float32), self.config, rng)


def to_input(hu: np.ndarray, config: SamplingConfig, rng: np.random.Generator) -> np.ndarray:
    """What a network sees of a crop in HU, float32 (context, H, W): changed by chance, windowed, cut out."""
    image = window_in_place(change_intensity(hu, config.augment, rng), config.hu_window)
    return cut_out(image, config.augment, rng)


def to_hu(image: np.ndarray, config: SamplingConfig) -> np.ndarray:
    """The HU of a crop in [-1, 1], float32, as far as the window let them through."""
    low, high = config.hu_window
    return (image + np.float32(1.0)) * np.float32((high - low) / 2.0) + np.float32(low)


def _lung_box(volume: CachedVolume) -> list[tuple[float, float]] | None:
    """First and last row, and column, of the lungs of all slices; None where no lung was found."""
    points = _lung(volume)[:, 2:]
    if not len(points):
        return None
    return [(float(lo), float(hi)) for lo, hi in zip(points.min(0), points.max(0), strict=True)]


class LabelledCrops(_Crops):
    """Crops with masks, from volumes that all carry one."""

    def __init__(self, volumes: Sequence[CachedVolume], config: SamplingConfig, seed: int = 0) -> None:
        super().__init__(volumes, config, seed)
        if any(volume.mask is None for volume in volumes):
            raise InputError("A labelled set holds a scan without a mask.")
        self.hard = HardSpots(config.replay_capacity)
        kinds = [kind for kind, share in self._shares() if share > 0]
        kinds += [LUNG] if sum(share for _, share in self._shares()) < 1 else []
        drawn = ((v, np.isin(v.anchors[:, 0], kinds)) for v in volumes)
        self._slices = sum(len(np.unique(v.anchors[at, 1])) for v, at in drawn)

    def batch(self, iteration: int) -> LabelledBatch:
        """The batch of this iteration; the same for the same seed, volumes, settings and hard spots."""
        rng = self._generator(iteration)
        images, masks, places, transforms = [], [], [], []
        for _ in range(self.config.batch):
            again = self.config.replay > 0 and rng.random() < self.config.replay and len(self.hard) > 0
            number, anchor = self.hard.draw(rng) if again else self._draw(self._kind(rng), rng)
            volume, z = self.volumes[number], int(anchor[0])
            transform = self._transform(volume, anchor, rng)
            images.append(self._image(volume, z, transform, rng))
            assert volume.mask is not None
            masks.append(warp_labels(volume.mask[z], transform, self.config.crop, self.config.classes))
            places.append((number, z))
            transforms.append(transform)
        volumes, slices = np.array(places).T
        stacked = np.stack(images), np.stack(masks)
        return LabelledBatch(*stacked, volumes, slices, np.stack(transforms), self._slices)


class UnlabelledCrops(_Crops):
    """Crops without masks: the masks of the volumes, if any, are dropped here and cannot be reached."""

    def __init__(self, volumes: Sequence[CachedVolume], config: SamplingConfig, seed: int = 0) -> None:
        bare = [
            CachedVolume(
                v.site, v.image, None, v.anchors[v.anchors[:, 0] != EMBOLUS], v.spacing_mm, v.slice_mm
            )
            for v in volumes
        ]
        super().__init__(bare, config, seed)

    def batch(self, iteration: int) -> ImageBatch:
        """The batch of this iteration, in the ratio of the settings.

        The emboli's share goes to small soft tissue as dense as clot, whatever it is: nothing is known of it.
        """
        rng = self._generator(iteration)
        images = []
        for _ in range(self.config.batch):
            kind = self._kind(rng)
            number, anchor = self._draw(LOOKALIKE if kind == EMBOLUS else kind, rng)
            volume = self.volumes[number]
            images.append(self._image(volume, int(anchor[0]), self._transform(volume, anchor, rng), rng))
        return ImageBatch(np.stack(images))


class UnlabelledSlices(UnlabelledCrops):
    """Every slice of lung once, in an order that the seed shuffles: batches until there is none left."""

    def __init__(self, volumes: Sequence[CachedVolume], config: SamplingConfig, seed: int = 0) -> None:
        super().__init__(volumes, config, seed)
        found = [(n, int(z)) for n, v in enumerate(self.volumes) for z in np.unique(_lung(v)[:, 1])]
        self._deck = np.random.default_rng(seed).permutation(np.array(found, int).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self._deck)

    def batch(self, iteration: int) -> ImageBatch:
        """The batch of this number: fewer crops at the end of the deck, and none behind it."""
        rng, size = self._generator(iteration), self.config.batch
        images = []
        for number, z in self._deck[iteration * size : (iteration + 1) * size]:
            volume = self.volumes[number]
            points = _lung(volume)
            points = points[points[:, 1] == z][:, 1:]
            transform = self._transform(volume, points[rng.integers(len(points))], rng)
            images.append(self._image(volume, int(z), transform, rng))
        shape = (0, self.config.context, self.config.crop, self.config.crop)
        return ImageBatch(np.stack(images) if images else np.zeros(shape, np.float32))


def _lung(volume: CachedVolume) -> np.ndarray:
    """Its anchors in lung."""
    return volume.anchors[volume.anchors[:, 0] == LUNG]
