"""A small finished segmentation for the tests of saving and reporting: a chest of ellipsoids, three marks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import Box, BoxArray, CheckLine, Finding, InputCheck, Result
from PESemiSegLib.volumes.volume import Volume, from_array

SPACING_MM = (1.6, 1.6, 2.5)
SHAPE = (60, 110, 140)


def _volume(**facts: Any) -> Volume:
    """A body with two lungs, a trunk and noise; 140 x 110 x 60 voxels."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    hu = np.full(SHAPE, -1000.0)
    hu[(x / 0.95) ** 2 + (y / 0.9) ** 2 < 1] = 30
    for side in (-1, 1):
        hu[((x - 0.42 * side) / 0.3) ** 2 + (y / 0.62) ** 2 + (z / 1.1) ** 2 < 1] = -850
    hu[(x / 0.12) ** 2 + ((y + 0.1) / 0.15) ** 2 < 1] = 350
    hu[((y + 0.1) / 0.05) ** 2 + (z / 0.06) ** 2 + 0 * x < 1] = 320
    hu += np.random.default_rng(0).normal(0, 12, SHAPE)
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-112, -88, -400.5)
    return from_array(hu.astype(np.int16), affine, **({"source_name": "made-up"} | facts))


def _result(volume: Volume | None = None, marks: int = 3, **provenance: Any) -> Result:
    """A result with `marks` box-shaped findings, the largest first."""
    volume = volume or _volume()
    mask = np.zeros(volume.shape, np.uint8)
    findings = []
    for n in range(marks):
        size = max(2, 6 - n)
        a = (8 + 5 * (n % 9), 48, 20 + 12 * (n % 8))
        box = Box(a, (a[0] + size // 2, a[1] + size, a[2] + size))
        mask[box.slices] = 1
        voxels = box.voxels
        centre = volume.grid.to_lps([(p + q - 1) / 2 for p, q in zip(box.start, box.stop, strict=True)][::-1])
        findings.append(
            Finding(
                id=n + 1,
                volume_mm3=voxels * volume.grid.voxel_volume_mm3,
                centroid_lps_mm=tuple(float(v) for v in centre),
                side=("left", "right", "central")[n % 3],
                slice_range=(box.start[0], box.stop[0] - 1),
                longest_axis_mm=11.5,
                mean_probability=0.9 - 0.01 * n,
                mean_confidence=0.6,
                box=box,
                seed=box.start,
            )
        )
    z, y, x = volume.shape
    box = Box((2, 3, 4), (z - 2, y - 3, x - 4))
    rng = np.random.default_rng(1)
    probability = BoxArray(rng.random(box.shape, dtype=np.float32), box, volume.shape)
    ramp = np.linspace(0, 1, box.shape[2], dtype=np.float32)
    confidence = BoxArray(np.broadcast_to(ramp, box.shape).copy(), box, volume.shape)
    check = InputCheck(
        [
            CheckLine("ok", "modality", "The series is CT."),
            CheckLine("warning", "spacing", "Slices are thick."),
        ],
        pa_hu=350.0,
    )
    package = {
        "name": "demo",
        "data_origin": "phantom",
        "intended_use": "Research <only>",
        "sha256": "ab" * 32,
    }
    origin = {"model": package} | provenance
    lungs = lung_mask(volume.hu, volume.spacing_mm)
    return Result(volume, mask, probability, confidence, findings, check, origin, lungs)


@pytest.fixture(scope="session")
def made_up_volume() -> Callable[..., Volume]:
    """Make the volume; keyword arguments are facts of its series."""
    return _volume


@pytest.fixture(scope="session")
def made_up_result() -> Callable[..., Result]:
    """Make the result: of a given volume, with any number of marks, with more provenance."""
    return _result
