"""What the tests of jobs share: an own folder of jobs with an awkward name, and stand-in jobs in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
