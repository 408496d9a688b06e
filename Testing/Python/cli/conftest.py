"""What the tests of the command line share: a tiny model, a small chest, and ways to run the program."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-m", "PESemiSegLib.cli.main"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with an own, empty model store and one thread."""
    home = tmp_path_factory.mktemp("home")
    return os.environ | {
        "PESEMISEG_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


@pytest.fixture(scope="session")
def pesemiseg(environment: dict[str, str]) -> Run:
    """Run the program in a process of its own and wait for it."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [*PROGRAM, *(str(argument) for argument in arguments)]
        return subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=240, check=False
        )

    return run


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start the program and return at once; stderr is a pipe."""

    def begin(*arguments: object) -> subprocess.Popen[str]:
        words = [*PROGRAM, *(str(argument) for argument in arguments)]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    return begin


@pytest.fixture(scope="session")
def tiny_model(make_tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of two tiny, untrained networks."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", spacing_mm=1.5, min_lesion_mm3=50.0)


def write_chest(path: Path, slices: int) -> Path:
    """Two lungs and an enhanced vessel between them, 1.5 mm pixels and 1.5 mm slices, as NIfTI."""
    from PESemiSegLib.volumes.grid import Grid, make_affine
    from PESemiSegLib.volumes.write import write_nifti

    shape = (slices, 128, 160)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000, np.int16)
    hu[(x / 0.95) ** 2 + (y / 0.9) ** 2 < 1] = 30
    for side in (-1, 1):
        hu[((x - 0.45 * side) / 0.32) ** 2 + (y / 0.65) ** 2 + 0 * z < 1] = -850
    hu[((x / 0.1) ** 2 + ((y + 0.1) / 0.14) ** 2 < 1) & (z > -2)] = 350
    hu += np.random.default_rng(0).normal(0, 12, shape).astype(np.int16)
    write_nifti(path, hu, Grid(shape, make_affine((1.5, 1.5, 1.5), (-120, -96, -300))))
    return path


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan that takes a moment."""
    return write_chest(tmp_path_factory.mktemp("chest") / "chest.nii.gz", 24)


@pytest.fixture(scope="session")
def long_chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan that takes long enough to be interrupted."""
    return write_chest(tmp_path_factory.mktemp("chest") / "long.nii.gz", 400)


@pytest.fixture(scope="session")
def finished(
    pesemiseg: Run, chest: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One finished run of `segment`, and its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    return folder, pesemiseg("segment", chest, "-o", folder, "--model", tiny_model)
