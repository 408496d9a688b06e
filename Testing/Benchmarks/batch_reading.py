"""What a training batch costs to read from the slice cache: `python Testing/Benchmarks/batch_reading.py`.

Reading is what the disk and the memory map take: the planes of a batch, wherever in the cohort they lie. The
whole batch (crops, augmentation, window) is given beside it; training draws it ahead in a thread of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.cache import CachedVolume, SliceCache
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig
from PESemiSegLib.volumes.grid import Grid, make_affine
from PESemiSegLib.volumes.write import write_nifti

AIM_MS = 2.0
_SPACING_MM = 0.9
Times = tuple[float, float]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        volumes = _cohort(Path(folder), arguments.volumes, arguments.slices)
        crops = LabelledCrops(volumes, SamplingConfig(batch=arguments.batch))
        reading = [_read(volumes, crops, n) for n in range(arguments.rounds)]
        whole = [_timed(partial(crops.batch, n)) for n in range(arguments.rounds)]
    result = {
        "batch": arguments.batch,
        "plane": list(volumes[0].image.shape[1:]),
        "reading_ms": _figures(reading),
        "whole_batch_ms": _figures(whole),
        "aim_ms": AIM_MS,
        "met": float(np.median(reading, axis=0)[0]) < AIM_MS,
    }
    print(json.dumps(result, indent=2))


def _cohort(folder: Path, count: int, slices: int) -> list[CachedVolume]:
    shape = (slices, 400, 400)
    grid = Grid(shape, make_affine((_SPACING_MM, _SPACING_MM, 1.0), (0, 0, 0)))
    volumes = []
    for n in range(count):
        hu = np.random.default_rng(n).integers(-900, 300, shape).astype(np.int16)
        mask = np.zeros(shape, np.uint8)
        mask[slices // 2, 190:200, 190:200] = 1
        write_nifti(folder / f"{n}.nii.gz", hu, grid)
        write_nifti(folder / f"{n}m.nii.gz", mask, grid)
        case = Case(f"p{n}", "A", folder / f"{n}.nii.gz", folder / f"{n}m.nii.gz")
        volumes.append(SliceCache(folder / "cache", _SPACING_MM).open(case))
    return volumes


def _read(volumes: list[CachedVolume], crops: LabelledCrops, iteration: int) -> Times:
    """To bring the image and mask planes of a batch, at random places, into memory."""
    rng = np.random.default_rng(iteration)
    places = [(int(rng.integers(len(volumes))), rng.random()) for _ in range(crops.config.batch)]

    def planes() -> None:
        for number, height in places:
            volume = volumes[number]
            z = int(height * len(volume.image))
            np.array(volume.image[z])
            np.array(volume.mask[z])

    return _timed(planes)


def _timed(work: Callable[[], object]) -> Times:
    """(wall, CPU) in ms: on a busy machine the former includes the waiting for a turn."""
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.thread_time() - cpu)


def _figures(times: list[Times]) -> dict[str, float]:
    wall, cpu = np.array(times).T
    return {
        "wall_median": round(float(np.median(wall)), 3),
        "wall_p95": round(float(np.percentile(wall, 95)), 3),
        "cpu_median": round(float(np.median(cpu)), 3),
        "cpu_p95": round(float(np.percentile(cpu, 95)), 3),
    }


if __name__ == "__main__":
    main()
