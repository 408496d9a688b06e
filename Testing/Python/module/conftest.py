"""The Slicer module on the host: loaded as at start-up, its jobs and models in a folder of the test."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "PESemiSeg" / "PESemiSeg.py"


@pytest.fixture
def host(started_host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty scene and a home folder of its own, with a space and an umlaut in its name."""
    monkeypatch.setenv("PESEMISEG_HOME", str(tmp_path / "höme folder"))
    started_host.reset()
    yield started_host
    started_host.reset()
    _end_jobs()
    started_host.check()


def _end_jobs() -> None:
    """Training outlives Slicer by design: a test that failed half-way must not leave it running."""
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.watch import look

    for job in runner.jobs():
        if look(job).active:
            runner.cancel(job)


@pytest.fixture
def shell(host: Any) -> Iterator[Any]:
    """The panels, in front."""
    import slicer

    slicer.app.userSettings().clear()
    library = _loaded()
    host.load_module(MODULE)
    slicer.util.getModuleWidget("PESemiSeg").shell.environment._probed = True  # no look at this computer
    slicer.util.selectModule("PESemiSeg")
    yield slicer.modules.PESemiSegWidget.shell
    host.unload_module("PESemiSeg")
    first = library.get("PESemiSegLib")
    if first and sys.modules["PESemiSegLib"] is not first:  # reloaded; other tests hold the first one
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(library)


def _loaded() -> dict[str, Any]:
    roots = ("PESemiSegUI", "PESemiSegLib")
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] in roots}


@pytest.fixture
def until(host: Any) -> Callable[..., bool]:
    """Let the application work until something has come about."""
    import slicer

    def wait(condition: Callable[[], bool], seconds: float = 400.0) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            slicer.app.processEvents()
            time.sleep(0.005)
        return condition()

    return wait


@pytest.fixture
def chest() -> np.ndarray:
    """(k, j, i) HU of a small chest: body, lungs, vessels with a dark clot; different along every axis."""
    zz, yy, xx = np.mgrid[:14, :64, :80]
    hu = np.full(zz.shape, -1000.0)
    hu[((yy - 32) / 28) ** 2 + ((xx - 40) / 38) ** 2 < 1] = 40
    for middle, width in ((22, 10), (58, 14)):
        hu[((yy - 30) / 18) ** 2 + ((xx - middle) / width) ** 2 < 1] = -850
        hu[np.hypot(yy - 28, xx - middle) < 3] = 350
    hu[np.hypot(yy - 26, xx - 40) < 4 + zz / 6] = 350
    hu[(np.hypot(yy - 28, xx - 58) < 2) & (abs(zz - 7) < 3)] = 50
    return (hu + np.random.default_rng(0).normal(0, 12, hu.shape)).astype(np.int16)
