"""A disk without room: a job ends with a reason, nothing lies, and nothing is half written."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from PESemiSegLib.errors import OutputError
from PESemiSegLib.jobs import context as context_module
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.status import read_status
from PESemiSegLib.jobs.watch import Watch, look


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with path.open("wb", buffering=0) as handle, suppress(OSError):
        while True:
            handle.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space"):
        path.with_suffix(".more").write_bytes(b"x" * 8192)
    path.with_suffix(".more").unlink()


@pytest.fixture
def job(home: Path) -> Job:
    return Job.create("sleep", {})


def test_a_heartbeat_becomes_a_touch_and_the_last_word_gets_the_reserve(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(job)
    context.begin()
    true_write = context_module.write_json
    monkeypatch.setattr(context_module, "write_json", no_room)
    os.utime(job.path(names.STATUS), (1.0, 1.0))
    context.progress("count", 1, 9)
    assert job.path(names.STATUS).stat().st_mtime > 1.0
    assert look(job).state == "running"

    def once_there_is_room(path: Path, value: object, **options: object) -> None:
        if job.path(".reserve").exists():
            no_room()
        true_write(path, value, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(context_module, "write_json", once_there_is_room)
    context.finish("failed", 2, "the disk is full", [])
    status = read_status(job.path(names.STATUS))
    assert status is not None
    assert (status.state, status.message) == ("failed", "the disk is full")


def test_a_job_that_cannot_be_started_stays_as_it_was(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "spawn", no_room)
    with pytest.raises(OutputError, match="No space"):
        runner.start(job)
    assert look(job).state == "created"


def test_a_cancel_that_has_no_room_for_its_file(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    running = runner.start(Job.create("sleep", {"steps": 10**6, "step_s": 0.05}))
    monkeypatch.setattr(Path, "touch", no_room)
    running.cancel()
    assert running.wait(30).state == "cancelled"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if (
        not sys.platform.startswith("linux")
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk can be mounted by root on Linux only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_real_disk_fills_up_while_a_worker_runs(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint cannot be written any more; the reason still can."""
    monkeypatch.setenv("PESEMISEG_HOME", str(small_disk))
    watch = runner.start(Job.create("sleep", {"steps": 10**6, "step_s": 0.02}))
    while watch.poll().status.done < 2:
        pass
    fill(small_disk / "other")
    seen = watch.wait(60)
    assert (seen.state, seen.status.exit_code) == ("failed", 2)
    assert "the disk is full" in seen.message
    assert json.loads(watch.job.path("counter.json").read_text())["done"] >= 2
    (small_disk / "other").unlink()
    again = runner.start(watch.job)
    while again.poll().status.done < 5:
        pass
    assert runner.cancel(watch.job, 30).state == "cancelled"


def test_a_full_disk_before_the_first_file(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PESEMISEG_HOME", str(small_disk / "home"))
    fill(small_disk / "other")
    with pytest.raises(OutputError, match="cannot be made"):
        Job.create("sleep", {})
    assert not list(small_disk.rglob("*.json"))


def test_a_watch_says_nothing_of_a_folder_that_is_gone(job: Job) -> None:
    import shutil

    watch = Watch(job)
    shutil.rmtree(job.folder)
    assert watch.poll().state == "created"
