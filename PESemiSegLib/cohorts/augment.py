"""Augmentation in HU and in the plane: what scanners, breath and positioning change, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from PESemiSegLib.errors import ConfigError

_SOFT_TISSUE_HU = 40.0


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes (method 1A.6). Flips are off: heart and spine have their sides.

    Cutout (DeVries 2017): one square of the image, its side one of `cutout_pixels`, is made black; its mask
    stays.
    """

    rotation_deg: float = 10.0
    scale: float = 0.10
    shift_hu: float = 20.0
    contrast: float = 0.10  # HU above soft tissue are scaled by 1 +- this
    noise_hu: float = 15.0  # largest sd of added white noise
    blur_pixels: float = 0.7  # largest sigma of the Gaussian
    blur_probability: float = 0.2
    flip_lr: bool = False  # each of both with an even chance
    flip_ud: bool = False
    cutout_probability: float = 0.0
    cutout_pixels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        values = (
            self.rotation_deg,
            self.scale,
            self.shift_hu,
            self.contrast,
            self.noise_hu,
            self.blur_pixels,
        )
        if min(values) < 0 or self.scale >= 0.5 or self.contrast >= 1 or not 0 <= self.blur_probability <= 1:
            raise ConfigError(
                "Augmentation ranges must be >= 0, scale < 0.5, contrast < 1, probability within 0..1."
            )
        if not 0 <= self.cutout_probability <= 1 or min(self.cutout_pixels, default=1) < 1:
            raise ConfigError("Cutout needs a probability within 0..1 and sides of at least 1 pixel.")
        if self.cutout_probability > 0 and not self.cutout_pixels:
            raise ConfigError("Cutout needs the sides of its squares: set cutout_pixels.")


@dataclass(frozen=True)
class VolumeAugmentConfig:
    """Changes of three-dimensional crops (CPMN, Section 3.2): flips and turns, each with 10 % probability."""

    flip_probability: float = 0.1  # along each axis
    rotation_probability: float = 0.1
    rotation_deg: float = 15.0  # largest turn in the plane; the paper gives none

    def __post_init__(self) -> None:
        if not 0 <= self.flip_probability <= 1 or not 0 <= self.rotation_probability <= 1:
            raise ConfigError("Probabilities of flips and turns must lie within 0 to 1.")
        if not 0 <= self.rotation_deg <= 180:
            raise ConfigError("The largest turn must lie within 0 to 180 degrees.")


NO_VOLUME_AUGMENTATION = VolumeAugmentConfig(0.0, 0.0, 0.0)
NO_AUGMENTATION = AugmentConfig(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def crop_transform(
    centre_yx: tuple[float, float], size: int, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """The 2x3 matrix from crop pixels (x, y, 1) to source pixels: rotated and scaled about the centre."""
    angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
    zoom = 1.0 + rng.uniform(-config.scale, config.scale)
    flip = -1.0 if config.flip_lr and rng.random() < 0.5 else 1.0
    over = -1.0 if config.flip_ud and rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    turn = np.array([[cos * flip, -sin * over], [sin * flip, cos * over]])
    middle = (size - 1) / 2.0
    offset = np.array([centre_yx[1], centre_yx[0]]) - turn @ np.array([middle, middle])
    return np.column_stack([turn, offset])


def turn_in_plane(shape: tuple[int, ...], degrees: float) -> np.ndarray:
    """The 2x3 matrix that turns a plane (y, x) of this shape about its centre, for `warp`."""
    angle, (height, width) = np.deg2rad(degrees), shape
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width - 1, height - 1]) / 2.0
    return np.column_stack([turn, middle - turn @ middle])


def warp(plane: np.ndarray, transform: np.ndarray, size: int | tuple[int, ...], fill: int) -> np.ndarray:
    """Bilinear crop of one int16 or uint8 plane (y, x) -> (size, size), or size (y, x), of the same type."""
    cv2 = _cv2()
    height, width = (size, size) if isinstance(size, int) else size
    crop: np.ndarray = cv2.warpAffine(
        plane,
        transform,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    return crop


def warp_labels(plane: np.ndarray, transform: np.ndarray, size: int, classes: int) -> np.ndarray:
    """Crop of one uint8 plane of labels: float32 (1, size, size), or one-hot (classes, size, size).

    Two classes are cut at one half; of more, each pixel takes the class that fills most of it. What lies
    beyond the plane is background.
    """
    if classes == 2:
        share = warp(plane * np.uint8(255), transform, size, 0)
        return (share > 127)[None].astype(np.float32)
    values = np.arange(classes)
    shares = [warp((plane == k) * np.uint8(255), transform, size, 0 if k else 255) for k in values]
    return (np.argmax(shares, 0) == values[:, None, None]).astype(np.float32)


def change_intensity(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """HU shift, contrast about 40 HU, blur and white noise; float32 (C, H, W), in place."""
    gain = 1.0 + rng.uniform(-config.contrast, config.contrast)
    shift = rng.uniform(-config.shift_hu, config.shift_hu)
    image *= np.float32(gain)
    image += np.float32(_SOFT_TISSUE_HU * (1.0 - gain) + shift)
    if config.blur_probability > 0 and rng.random() < config.blur_probability:
        cv2 = _cv2()
        sigma = max(0.05, rng.uniform(0.0, config.blur_pixels))
        for channel in image:
            cv2.GaussianBlur(channel, (5, 5), sigma, dst=channel)
    if config.noise_hu > 0:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(rng.uniform(0.0, config.noise_hu))
        image += noise
    return image


def cut_out(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """With its probability a square of float32 (C, H, W) in [-1, 1] becomes -1, in place.

    It lies anywhere inside; a square that is larger than the image is the whole of it.
    """
    if config.cutout_probability > 0 and rng.random() < config.cutout_probability:
        side = int(rng.choice(config.cutout_pixels))
        y, x = (int(rng.integers(max(0, n - side) + 1)) for n in image.shape[1:])
        image[:, y : y + side, x : x + side] = -1.0
    return image


def _cv2() -> Any:
    import cv2  # part of the [train] extra; its own threads would fight the network's

    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(1)
    return cv2
