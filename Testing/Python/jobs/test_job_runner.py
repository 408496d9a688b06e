"""Real workers: started, watched by two, cancelled, killed at random, resumed, orphaned, removed."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from PESemiSegLib.errors import JobError
from PESemiSegLib.jobs import folder as names
from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.process import identify, is_alive
from PESemiSegLib.jobs.status import read_status
from PESemiSegLib.jobs.watch import Snapshot, Watch, look

Submit = Callable[..., Watch]
Until = Callable[..., Snapshot]
ENDLESS = {"steps": 10**6, "step_s": 0.02}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def at_work(seen: Snapshot) -> bool:
    return seen.status.done >= 2 or seen.ended


def carriers(job: Job) -> list[int]:
    """Living processes that carry the job's mark."""
    mark = f"{names.TOKEN_VARIABLE}={job.token}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes() and identify(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_job_from_start_to_end(submit: Submit) -> None:
    watch = submit(steps=30, step_s=0.02, say="Grüße")
    seen = watch.wait(60)
    assert (seen.state, seen.status.exit_code) == ("done", 0)
    assert [result.name for result in seen.status.results] == ["slept.json"]
    kinds = [event["kind"] for event in seen.events]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    progress = [event for event in seen.events if event["kind"] == "progress"]
    assert progress[-1]["done"] == 30
    assert len(progress) <= 2 + 4 * (progress[-1]["t"] - progress[0]["t"] + 1), "more than four a second"
    assert "Grüße" in watch.job.path(names.LOG).read_text(encoding="utf-8")
    left = {entry.name for entry in watch.job.folder.iterdir()}
    assert left == {
        *("job.json", "status.json", "events.jsonl", "log.txt", "worker.lock", "start.lock"),
        *("counter.json", "slept.json"),
    }
    with pytest.raises(JobError, match="is done"):
        runner.start(watch.job)


def test_the_pid_is_that_of_the_interpreter_below_a_launcher(
    home: Path, tmp_path: Path, until: Until
) -> None:
    """A launcher as Slicer's: it starts the real Python as its child, and dies alone when it is killed."""
    launcher = tmp_path / "Slicer ü" / "PythonSlicer"
    launcher.parent.mkdir()
    code = "import subprocess, sys; sys.exit(subprocess.run([sys.argv[1], *sys.argv[2:]]).returncode)"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" -S -c "{code}" "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    watch = runner.start(Job.create("sleep", ENDLESS | {"deaf": True}), python=launcher)
    seen = until(watch, at_work)
    assert watch._process is not None
    assert seen.status.process is not None
    assert seen.status.process.pid != watch._process.pid
    watch.cancel()
    assert watch.wait(30).state == "cancelled"
    assert is_alive(seen.status.process) is False
    if sys.platform.startswith("linux"):
        assert carriers(watch.job) == []
    assert runner.submit("sleep", {"steps": 1}, python=launcher).wait(60).state == "done"


@linux
def test_a_polite_worker_stops_at_once_and_a_deaf_one_with_its_children(submit: Submit, until: Until) -> None:
    for deaf, limit_s, children in ((False, 2.0, 0), (True, 5.0, 2)):
        watch = submit(**ENDLESS, deaf=deaf, children=children)
        until(watch, at_work)
        assert len(carriers(watch.job)) == 1 + children
        asked = time.monotonic()
        watch.cancel()
        seen = watch.wait(30, every_s=0.05)
        took = time.monotonic() - asked
        assert seen.state == "cancelled"
        assert took < limit_s + 3 * slowness(), f"{took:.1f} s"
        time.sleep(0.3)
        assert carriers(watch.job) == []


def slowness() -> float:
    """Seconds that the start of a bare Python takes now, where 0.03 are usual: tests share their machine."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return time.monotonic() - began


@linux
def test_a_worker_that_stands_still_is_ended(submit: Submit, until: Until) -> None:
    """Stopped by a signal, as by a debugger or in endless swapping: it cannot end itself."""
    watch = submit(**ENDLESS)
    seen = until(watch, at_work)
    assert seen.status.process is not None
    os.kill(seen.status.process.pid, signal.SIGSTOP)
    assert runner.cancel(watch.job, timeout_s=30).state == "cancelled"
    assert is_alive(seen.status.process) is False


def test_a_cancel_needs_no_watcher(submit: Submit, until: Until) -> None:
    """A script that only puts down the file: even a deaf worker heeds it."""
    watch = submit(**ENDLESS, deaf=True)
    until(watch, at_work)
    watch.job.path("input.npy").write_bytes(b"CT")
    watch.job.path(names.CANCEL).touch()
    deadline = time.monotonic() + 30
    while (status := read_status(watch.job.path(names.STATUS))) and status.state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status is not None
    assert (status.state, status.exit_code) == ("cancelled", 130)
    assert not watch.job.path("input.npy").exists()
    assert watch.wait(30).state == "cancelled"
    context = Context(watch.job)  # of a worker that a scheduler starts, to go on
    context.begin()
    assert not watch.job.asked(names.CANCEL)
    context.finish("done", 0, "", [])


@pytest.mark.parametrize(
    ("then", "state", "code", "words"),
    [
        ("error", "failed", 2, "asked to refuse"),
        ("defect", "failed", 1, "unexpected ZeroDivisionError"),
        ("memory", "failed", 2, "out of memory"),
        ("die", "lost", None, "died"),
        ("crash", "lost", None, "crashed (abort)"),
    ],
)
def test_every_bad_end_is_said(submit: Submit, then: str, state: str, code: int | None, words: str) -> None:
    seen = submit(steps=9, step_s=0.01, at=3, then=then).wait(60)
    assert (seen.state, seen.status.exit_code) == (state, code)
    assert words in seen.message
    if then == "defect":
        assert any("ZeroDivisionError" in line for line in seen.log_tail)
    if then == "crash":
        assert any("Fatal Python error" in line for line in seen.log_tail)


def test_a_python_that_cannot_run_the_worker_says_why(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "python-broken"
    broken.write_text('#!/bin/sh\necho "No module named numpy" >&2\nexit 1\n')
    broken.chmod(0o755)
    seen = runner.start(Job.create("probe", {}), python=broken).wait(30)
    assert seen.state == "failed"
    assert "exit code 1" in seen.message
    assert seen.log_tail == ("No module named numpy",)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("seed", range(4))
def test_a_worker_killed_at_any_moment_loses_the_work_since_its_checkpoint(
    submit: Submit, until: Until, seed: int
) -> None:
    """Killed again and again until it is through; every file can be read at every moment."""
    random_number = random.Random(seed)
    watch = submit(steps=40, step_s=0.01, checkpoint_every=5)
    job, kills, saved, second = watch.job, 0, 0, Watch(watch.job)
    seen_by_second: list[dict[str, Any]] = []
    while True:
        if random_number.random() < 0.6:  # else while it starts
            until(watch, lambda seen: seen.status.state == "running" or seen.ended)
        kill_at = time.monotonic() + random_number.uniform(0.0, 0.4)
        while time.monotonic() < kill_at and not watch.poll().ended:
            time.sleep(0.005)
        if not watch.poll().ended:
            assert watch._process is not None
            watch._process.kill()
            kills += 1
        seen = watch.wait(60)
        seen_by_second += second.poll().events
        counter = job.path("counter.json")
        now = json.loads(counter.read_text())["done"] if counter.exists() else 0
        assert now >= saved, "a checkpoint was lost"
        saved = now
        if seen.state == "done":
            break
        assert seen.state in ("lost", "failed"), seen.message
        watch = runner.start(job)
    while events := second.poll().events:
        seen_by_second += events
    resumed = [event["done"] for event in seen_by_second if event["kind"] == "resumed"]
    checkpoints = [event["done"] for event in seen_by_second if event["kind"] == "checkpoint"]
    assert seen.status.attempt in (kills, kills + 1)  # the last kill may have come too late
    assert resumed == sorted(resumed)
    assert checkpoints == sorted(checkpoints)
    assert saved == 40
    assert not list(job.folder.glob(".*")), "what killed workers left aside"


def test_pause_and_resume_and_finish(submit: Submit, until: Until) -> None:
    watch = submit(**ENDLESS, checkpoint_every=10**6)
    until(watch, at_work)
    watch.pause()
    paused = watch.wait(30)
    assert (paused.state, paused.status.exit_code) == ("paused", 130)
    saved = json.loads(watch.job.path("counter.json").read_text())["done"]
    again = runner.start(watch.job)
    until(again, lambda seen: seen.status.done > saved)
    again.finish()
    done = again.wait(30)
    assert done.state == "done"
    all_events = Watch(watch.job).wait(30).events
    assert [event["done"] for event in all_events if event["kind"] == "resumed"] == [0, saved]
    assert json.loads(watch.job.path("slept.json").read_text())["steps"] > saved


def test_only_training_can_be_paused(home: Path) -> None:
    with pytest.raises(JobError, match="segment cannot pause"):
        Watch(Job.create("segment", {})).pause()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_system_that_shuts_down_lets_it_save(submit: Submit, until: Until) -> None:
    watch = submit(**ENDLESS, checkpoint_every=10**6)
    seen = until(watch, at_work)
    assert seen.status.process is not None
    os.kill(seen.status.process.pid, signal.SIGTERM)
    ended = watch.wait(30)
    assert (ended.state, ended.message) == ("cancelled", "stopped by the system")
    assert watch.job.path("counter.json").exists()


def test_two_programs_cannot_start_one_job(submit: Submit, until: Until, home: Path) -> None:
    """Ten threads with handles of their own stand for ten programs: one worker starts."""
    job = Job.create("sleep", ENDLESS)
    started: list[Watch] = []
    refused: list[str] = []

    def begin() -> None:
        try:
            started.append(runner.start(Job.open(job.folder)))
        except JobError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
    assert len(refused) == 9
    assert until(started[0], at_work).status.attempt == 1
    # A worker that somebody starts by hand finds the first one at it, and leaves its files alone.
    before = read_status(job.path(names.STATUS))
    command = [sys.executable, "-m", "PESemiSegLib.jobs.worker", str(job.folder)]
    by_hand = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert by_hand.returncode == 3
    after = read_status(job.path(names.STATUS))
    assert before is not None
    assert after is not None
    assert before.process == after.process
    with pytest.raises(JobError, match="cancel it first"):
        runner.remove(job)
    assert runner.cancel(job, 30).state == "cancelled"


def test_two_watchers_see_the_same(submit: Submit) -> None:
    watch = submit(steps=20, step_s=0.02)
    other = Watch(Job.open(watch.job.folder))
    first, second = watch.wait(60), other.wait(60)
    assert first.state == second.state == "done"
    assert first.status == second.status
    assert [event for event in second.events if event in first.events] == list(first.events)


STARTER = """
    import sys, time
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.folder import Job
    job = Job.create("sleep", {"steps": 10**6, "step_s": 0.02}, outlives=sys.argv[1] == "True")
    job.path("input.npy").write_bytes(b"CT")
    watch = runner.start(job)
    while watch.poll().status.done < 2:
        time.sleep(0.05)
    print(job.folder, flush=True)
    time.sleep(100)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("outlives", [True, False])
def test_a_run_outlives_its_starter_and_a_segmentation_does_not(
    home: Path, until: Until, outlives: bool
) -> None:
    code = textwrap.dedent(STARTER)
    starter = subprocess.Popen([sys.executable, "-c", code, str(outlives)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    job = Job.open(Path(starter.stdout.readline().strip()))
    starter.kill()
    starter.communicate()
    (found,) = runner.jobs()
    assert found == job
    watch = Watch(found, from_end=True)
    if outlives:
        done = watch.poll().status.done
        until(watch, lambda seen: seen.status.done > done + 50)
        assert runner.cancel(found, 30).state == "cancelled"
    else:
        seen = watch.wait(30)
        assert (seen.state, seen.message) == ("cancelled", "stopped: the program that started it has ended")
        assert not job.path("input.npy").exists()


def test_an_unsigned_request_of_an_earlier_run_does_not_stop_the_next(submit: Submit) -> None:
    job = Job.create("sleep", {"steps": 3})
    for request in names.REQUESTS:
        job.ask(request)
    assert runner.start(job).wait(60).state == "done"


def test_remove_deletes_what_is_ours_and_forgets_what_is_not(
    submit: Submit, home: Path, tmp_path: Path
) -> None:
    inside, outside = submit(steps=1), submit(steps=1, folder=tmp_path / "my runs" / "läuft")
    for watch in (inside, outside):
        assert watch.wait(60).state == "done"
    assert {job.id for job in runner.jobs()} == {inside.job.id, outside.job.id}
    assert runner.find(outside.job.id[:12]) == outside.job
    assert runner.remove(inside.job) is True
    assert runner.remove(outside.job) is False
    assert runner.jobs() == []
    assert outside.job.path("slept.json").exists()
    assert runner.find(str(outside.job.folder)).id == outside.job.id
    with pytest.raises(JobError, match="there is no job"):
        runner.find("sleep-")


@linux
def test_a_poll_is_quick(submit: Submit, until: Until) -> None:
    """A panel polls on its only thread: 50 ms would be felt."""
    watch = submit(**ENDLESS)
    until(watch, at_work)
    with watch.job.path(names.EVENTS).open("a") as handle:
        for number in range(20_000):
            handle.write(json.dumps({"kind": "flood", "number": number, "text": "x" * 50}) + "\n")
    spent = []
    for _ in range(20):
        began = time.thread_time()  # of this thread: other programs do not count
        watch.poll()
        spent.append(time.thread_time() - began)
    watch.cancel()
    assert max(spent) < 0.05, spent
    assert watch.wait(30).state == "cancelled"


def test_jobs_that_cannot_be_read_are_left_out_of_lists(submit: Submit, home: Path) -> None:
    assert runner.jobs() == []
    submit(steps=1).wait(60)
    (home / "jobs" / "notes").mkdir()
    (home / "jobs" / "train-000000000000").mkdir()
    (home / "jobs" / "train-000000000000" / "job.json").write_text("{")
    (home / "jobs" / "gone.at").write_text("/nowhere/at/all")
    (job,) = runner.jobs()
    assert look(job).state == "done"
