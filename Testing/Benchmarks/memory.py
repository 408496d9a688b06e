"""Peak memory and the time to the first slice, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import SimpleITK
from subjects import CACHE, Model, scan
from volumes import SLICES

from PESemiSegLib.volumes import Volume

# What a user's process does; prints what it saw as JSON. Memory is the process's own high-water mark.
_CHILD = """
import json, resource, sys, time
started = float(sys.argv[3])
import numpy, scipy.ndimage, SimpleITK, skimage.measure, openvino
openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.models.package import read_package
from PESemiSegLib.volumes.reader import read

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

runtime = rss()
volume = read(sys.argv[1])
loaded = rss()
first = {}
def progress(p):
    if p.stage == "slices" and p.done >= 1 and not first:
        first.update(wall=time.time() - started, cpu=time.process_time())
segment(volume, read_package(sys.argv[2]), device="cpu", engine="openvino", precision="fp32",
        threads=int(sys.argv[4]), progress=progress)
print(json.dumps({"runtime": runtime, "volume": loaded - runtime, "peak": peak() - runtime, "first": first}))
"""


def measure(model: Model, threads: int = 1) -> dict[str, Any]:
    """Segment the 512x512x300 volume from a NIfTI file in a fresh process."""
    volume = scan("standard", SLICES)
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / "volume.nii"
    SimpleITK.WriteImage(_image(volume), path)
    quiet = {"OMP_NUM_THREADS": str(threads)}
    seen = json.loads(_run(path, model.package.path, threads, os.environ | quiet))
    megabyte = 2**20
    return {
        "threads": threads,
        "runtime_mb": seen["runtime"] / megabyte,
        "volume_mb": seen["volume"] / megabyte,
        "peak_over_runtime_mb": seen["peak"] / megabyte,
        "first_slice_wall_seconds": seen["first"]["wall"],
        "first_slice_cpu_seconds": seen["first"]["cpu"],
    }


def _image(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.hu)
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.grid.origin)
    return image


def _run(path: Path, package: Path, threads: int, environment: dict[str, str]) -> str:
    arguments = [str(path), str(package), str(time.time()), str(threads)]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1]
