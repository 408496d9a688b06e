"""What the tests of jobs share: an own folder of jobs with an awkward name, and stand-in jobs in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.process import kill_tree
from PESemiSegLib.jobs.watch import Snapshot, Watch, look

Submit = Callable[..., Watch]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's data folder, with a space and letters outside ASCII in its path.

    Workers that still run at the end of a test are ended: they would outlive it, as they should.
    """
    folder = tmp_path / "Büro 日本 data"
    monkeypatch.setenv("PESEMISEG_HOME", str(folder))
    yield folder
    for job in runner.jobs(folder / "jobs"):
        kill_tree(look(job).status.process, job.token, names.TOKEN_VARIABLE)


@pytest.fixture
def submit(home: Path) -> Submit:
    """Start a stand-in job."""

    def begin(kind: str = "sleep", /, *, folder: Path | None = None, **params: Any) -> Watch:
        return runner.start(Job.create(kind, params, folder=folder))

    return begin


def wait_until(watch: Watch, condition: Callable[[Snapshot], bool], timeout_s: float = 60.0) -> Snapshot:
    """Poll until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        seen = watch.poll()
        if condition(seen):
            return seen
        time.sleep(0.02)
    raise AssertionError(f"still {seen.state}: {seen.message} {seen.log_tail}")


@pytest.fixture
def until() -> Callable[..., Snapshot]:
    """`wait_until` for tests, which cannot import a conftest."""
    return wait_until


@pytest.fixture(scope="session")
def write_case() -> Callable[[Path, int], tuple[Path, Path]]:
    """Writes a scan and its mask, a name in theirs: a body, two lungs, a vessel in each, a clot in one."""
    from PESemiSegLib.volumes.grid import Grid
    from PESemiSegLib.volumes.write import write_nifti

    def write(folder: Path, number: int) -> tuple[Path, Path]:
        zz, yy, xx = np.mgrid[:16, :64, :64]
        hu = np.full(zz.shape, -1000.0)
        hu[((yy - 32) / 26) ** 2 + ((xx - 32) / 30) ** 2 < 1] = 40
        for x0 in (18, 46):
            hu[((yy - 32) / 18) ** 2 + ((xx - x0) / 10) ** 2 < 1] = -850
            hu[np.hypot(yy - 32, xx - x0) < 4] = 320
        mask = ((np.hypot(yy - 32, xx - 18) < 3) & (abs(zz - 8) < 3)).astype(np.uint8)
        hu[mask > 0] = 40
        noisy = (hu + np.random.default_rng(number).normal(0, 10, hu.shape)).astype(np.int16)
        paths = folder / f"Geheim_{number}_ct.nii.gz", folder / f"Geheim_{number}_mask.nii.gz"
        for path, array in zip(paths, (noisy, mask), strict=True):
            write_nifti(path, array, Grid(array.shape, np.diag([3.0, 3.0, 5.0, 1.0])))
        return paths

    return write
