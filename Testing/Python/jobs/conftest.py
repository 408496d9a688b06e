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
from PESemiSegLib.jobs.watch import Snapshot, Watch

Submit = Callable[..., Watch]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, with a space and letters outside ASCII in its path."""
    folder = tmp_path / "Büro 日本 data"
    monkeypatch.setenv("PESEMISEG_HOME", str(folder))
    return folder


@pytest.fixture
def submit(home: Path) -> Iterator[Submit]:
    """Start a stand-in job; what still runs at the end of the test is ended."""
    started: list[Job] = []

    def begin(kind: str = "sleep", /, *, folder: Path | None = None, **params: Any) -> Watch:
        job = Job.create(kind, params, folder=folder)
        started.append(job)
        return runner.start(job)

    yield begin
    for job in started:
        kill_tree(None, job.token, names.TOKEN_VARIABLE)


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
