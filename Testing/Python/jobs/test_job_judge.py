"""The verdict on a job, evidence by evidence, and a watch on a clock of its own."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs.files import write_json
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.judge import Evidence, judge
from PESemiSegLib.jobs.process import Identity
from PESemiSegLib.jobs.status import ResultFile, Status
from PESemiSegLib.jobs.watch import Watch, look

HERE = Identity(2**22 + 5, "another boot/5", "elsewhere")
AT_WORK = Status("running", 1, HERE, stage="slices", done=3, total=9, memory_mb=2048)
OVER = AT_WORK.with_changes(state="done", exit_code=0)
STARTED = Status("starting", 1)


@pytest.mark.parametrize(
    ("seen", "state", "words"),
    [
        (Evidence(AT_WORK, 1, alive=True), "running", ""),
        (Evidence(AT_WORK, 29, alive=True), "running", ""),
        (Evidence(AT_WORK, 31, alive=True), "lost", "has not answered for 30 s (probably memory)"),
        (Evidence(AT_WORK, 31), "lost", "died (probably memory), at slices 3/9, with 2.0 GiB in use"),
        (Evidence(AT_WORK, 29), "running", ""),
        (Evidence(AT_WORK, 2, alive=False), "lost", "died (probably memory)"),
        (Evidence(AT_WORK, 2, exit_code=-9, own_child=True), "lost", "died (probably memory)"),
        (Evidence(AT_WORK, 2, exit_code=-11, own_child=True), "lost", "crashed (segfault)"),
        (Evidence(AT_WORK, 2, exit_code=0xC0000005, own_child=True), "lost", "crashed (0xc0000005)"),
        (Evidence(AT_WORK, 2, alive=True, exit_code=1, own_child=True), "running", ""),  # a launcher died
        (Evidence(AT_WORK, 2, alive=False, asked_to_cancel=True), "cancelled", "as asked"),
        (Evidence(AT_WORK, 31, asked_to_cancel=True), "cancelled", "does not answer"),
        (Evidence(STARTED, 2), "starting", ""),
        (Evidence(STARTED, 31), "lost", "did not start"),
        (Evidence(STARTED, 1, alive=False), "failed", "could not start; see"),
        (Evidence(STARTED, 1, exit_code=1, own_child=True), "failed", "could not start (exit code 1)"),
        (Evidence(STARTED, 1, exit_code=-9, own_child=True, asked_to_cancel=True), "cancelled", ""),
        (Evidence(OVER, 99), "done", ""),
        (Evidence(OVER, 0, own_child=True), "running", ""),  # about to end: the exit code is still out
        (Evidence(OVER, 0, exit_code=0, own_child=True), "done", ""),
        (Evidence(OVER, 0, exit_code=-11, own_child=True), "failed", "exit code -11 after its work"),
        (Evidence(OVER, 0, exit_code=-9, own_child=True), "done", ""),  # killed after its last word
        (Evidence(OVER.with_changes(exit_code=None), 0), "failed", "exit code None"),
        (Evidence(OVER.with_changes(exit_code=1), 0), "failed", "exit code 1"),
        (Evidence(OVER, 0, results_problem="the result x is not there"), "failed", "x is not there"),
        (Evidence(OVER, 0, asked_to_cancel=True), "done", ""),  # it was faster than the request
        (Evidence(AT_WORK.with_changes(state="failed", message="why"), 99), "failed", "why"),
        (Evidence(AT_WORK.with_changes(state="paused"), 0, own_child=True), "running", ""),  # about to end
        (Evidence(AT_WORK.with_changes(state="paused"), 0, exit_code=0, own_child=True), "paused", ""),
        (Evidence(None, 31), "lost", "did not start"),
    ],
)
def test_the_verdict(seen: Evidence, state: str, words: str) -> None:
    verdict = judge(seen)
    assert verdict.state == state
    assert words in verdict.message


class Clocks:
    """A monotonic clock and a calendar that the test moves."""

    def __init__(self) -> None:
        self.now, self.wall = 1000.0, 5e9  # a calendar later than any file's time

    def pass_by(self, seconds: int, watch: Watch) -> None:
        """Time that passes while the watch is polled."""
        for _ in range(seconds):
            watch.poll()
            self.now += 1


def watched(job: Job, status: Status | None, clocks: Clocks, **options: float) -> Watch:
    if status is not None:
        write_json(job.path(names.STATUS), status.to_dict())
    return Watch(job, clock=lambda: clocks.now, wall=lambda: clocks.wall, **options)


@pytest.fixture
def job(home: Path) -> Job:
    return Job.create("sleep", {})


def test_silence_is_counted_on_the_watchers_own_clock(job: Job) -> None:
    clocks = Clocks()
    status = AT_WORK.with_changes(heartbeat_s=5e9)
    watch = watched(job, status, clocks)
    assert watch.poll().state == "running"
    clocks.pass_by(20, watch)
    clocks.wall += 1e6  # the calendar jumps: no harm
    assert watch.poll().state == "running"
    clocks.pass_by(11, watch)
    lost = watch.poll()
    assert (lost.state, lost.ended) == ("lost", True)
    write_json(job.path(names.STATUS), status.with_changes(heartbeat_s=5e9 + 40).to_dict())
    assert watch.poll().state == "running"  # it was only asleep, as a computer with a closed lid


def test_a_clock_that_counts_sleep_makes_no_worker_lost(job: Job) -> None:
    """As that of Windows does: the first look after waking may be faster than the worker's heartbeat."""
    clocks = Clocks()
    watch = watched(job, AT_WORK.with_changes(heartbeat_s=5e9), clocks)
    clocks.pass_by(2, watch)
    clocks.now += 8 * 3600
    assert watch.poll().state == "running"
    clocks.pass_by(20, watch)
    assert watch.poll().state == "running"
    clocks.pass_by(10, watch)
    assert watch.poll().state == "lost"  # it did not wake up


def test_an_old_heartbeat_at_the_first_look_is_a_doubt_and_no_proof(job: Job) -> None:
    clocks = Clocks()
    watch = watched(job, AT_WORK, clocks)
    assert watch.poll().state == "running"
    clocks.now += 4
    assert watch.poll().state == "lost"
    assert look(job).state == "running"  # by the true calendar it was written a moment ago


def test_a_list_takes_old_heartbeats_at_their_word(job: Job) -> None:
    import os

    write_json(job.path(names.STATUS), AT_WORK.to_dict())
    os.utime(job.path(names.STATUS), (1.0, 1.0))
    assert look(job).state == "lost"


def test_a_touched_status_is_a_heartbeat(job: Job) -> None:
    """All that a worker on a full disk can do."""
    import os

    clocks = Clocks()
    watch = watched(job, AT_WORK.with_changes(heartbeat_s=5e9), clocks)
    for minute in range(1, 4):
        watch.poll()
        clocks.now += 25
        os.utime(job.path(names.STATUS), (6e9 + minute, 6e9 + minute))
    assert watch.poll().state == "running"


def test_a_status_that_gets_damaged_keeps_its_last_reading(job: Job) -> None:
    clocks = Clocks()
    watch = watched(job, AT_WORK.with_changes(heartbeat_s=5e9), clocks)
    watch.poll()
    job.path(names.STATUS).write_bytes(b'{"state": "runn')
    seen = watch.poll()
    assert (seen.state, seen.status.done) == ("running", 3)
    clocks.pass_by(31, watch)
    assert watch.poll().state == "lost"
    write_json(job.path(names.STATUS), AT_WORK.with_changes(state="failed", message="healed").to_dict())
    assert watch.poll().message == "healed"


def test_a_status_that_never_made_sense_ends_as_lost(job: Job) -> None:
    clocks = Clocks()
    job.path(names.STATUS).write_bytes(b"\0" * 100)
    watch = watched(job, None, clocks)
    assert watch.poll().state == "starting"
    clocks.pass_by(31, watch)
    assert watch.poll().state == "lost"


def test_a_job_that_nobody_started(job: Job) -> None:
    assert look(job).state == "created"


def test_a_job_waits_for_its_start_as_long_as_it_takes(job: Job) -> None:
    """In the queue of a cluster, for days."""
    clocks = Clocks()
    watch = watched(job, None, clocks)
    clocks.pass_by(100, watch)
    assert watch.poll().state == "created"
    assert not watch.poll().ended
    write_json(job.path(names.STATUS), AT_WORK.with_changes(heartbeat_s=5e9).to_dict())
    assert watch.poll().state == "running"


def test_a_job_that_is_cancelled_before_its_start_is_over(job: Job) -> None:
    watch = watched(job, None, Clocks())
    assert watch.poll().state == "created"
    job.ask(names.CANCEL)
    assert watch.poll().state == "cancelled"


def test_a_list_reads_no_results(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes on a slow disk, and files that Windows then could not remove."""
    from PESemiSegLib.jobs import status as status_module

    monkeypatch.setattr(status_module, "sha256_of", lambda path: pytest.fail("it was read"))
    monkeypatch.setattr(threading, "Thread", lambda **_: pytest.fail("in a thread"))
    write_json(job.path(names.STATUS), replace(OVER, results=(ResultFile("mask.npy", 6, ""),)).to_dict())
    job.path("mask.npy").write_bytes(b"voxels")
    assert look(job).state == "done"
    job.path("mask.npy").write_bytes(b"vox")
    assert (look(job).state, look(job).message) == ("failed", "the result mask.npy has 3 bytes, not 6")


def test_damaged_results_are_seen_before_done_is_said(job: Job) -> None:
    import hashlib
    import time

    data = b"voxels"
    result = ResultFile("mask.npy", len(data), hashlib.sha256(data).hexdigest())
    status = replace(OVER, results=(result,))
    for content, state in ((data, "done"), (b"voxelz", "failed"), (b"", "failed"), (None, "failed")):
        job.path("mask.npy").unlink(missing_ok=True)
        if content is not None:
            job.path("mask.npy").write_bytes(content)
        watch = watched(job, status, Clocks())
        states = []
        while not states or states[-1] == "running":
            states.append(watch.poll().state)
            time.sleep(0.005)
        assert states[-1] == state
