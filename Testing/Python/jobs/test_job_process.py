"""Who a process is, and that only a job's own processes are ever ended."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from PESemiSegLib.jobs.process import Identity, identify, is_alive, kill_tree, machine

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(120)"]
VARIABLE = "PESEMISEG_TEST_JOB"


@pytest.fixture
def foreign() -> Iterator[subprocess.Popen[bytes]]:
    """A process that belongs to somebody else."""
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


def ends(process: subprocess.Popen[bytes], within_s: float = 10) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_the_living_and_the_dead(foreign: subprocess.Popen[bytes]) -> None:
    who = identify(foreign.pid)
    assert who is not None
    assert is_alive(who) is True
    foreign.kill()
    time.sleep(0.2)
    assert is_alive(who) is False  # also while it is a zombie that nobody has waited for
    foreign.wait()
    assert is_alive(who) is False
    assert identify(foreign.pid) is None


def test_a_number_that_was_given_to_another_process(foreign: subprocess.Popen[bytes]) -> None:
    """As after a reboot, or when numbers have gone round."""
    who = identify(foreign.pid)
    assert who is not None
    for stranger in (replace(who, started="another boot/17"), replace(who, started=who.started + "1")):
        assert is_alive(stranger) is False
        assert kill_tree(stranger, "nobody", VARIABLE) == 0
    assert foreign.poll() is None


def test_a_process_of_another_machine_is_not_judged(foreign: subprocess.Popen[bytes]) -> None:
    who = identify(foreign.pid)
    assert who is not None
    far = replace(who, machine="f" * 12)
    assert is_alive(far) is None
    assert kill_tree(far, "nobody", VARIABLE) == 0
    assert foreign.poll() is None


def test_the_machine_is_told_apart_and_not_named() -> None:
    import platform

    assert len(machine()) == 12
    assert platform.node() not in machine()


@pytest.mark.parametrize("raw", [None, 5, {}, {"pid": True, "started": "", "machine": ""}, {"pid": -1}])
def test_what_is_no_identity(raw: object) -> None:
    assert Identity.from_dict(raw) is None


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_tree_ends_with_children_that_left_their_parent(foreign: subprocess.Popen[bytes]) -> None:
    """A child in a session of its own, whose parent is gone, is found by the job's mark."""
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({SLEEPER!r}, stdout=subprocess.DEVNULL, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(120)\n"
    )
    environment = os.environ | {VARIABLE: "job-1"}
    parent = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.communicate()
    assert is_alive(child) is True
    if not sys.platform.startswith("linux"):
        pytest.skip("marks in the environment can be read on Linux only")
    marked = Path(f"/proc/{child.pid}/environ")
    while not marked.read_bytes():  # the child is a program of its own a moment before its environment shows
        time.sleep(0.01)
    assert kill_tree(None, "job-1", VARIABLE) >= 1
    time.sleep(0.1)
    assert is_alive(child) is False
    assert foreign.poll() is None


def test_a_tree_ends_from_its_root(foreign: subprocess.Popen[bytes]) -> None:
    code = f"import subprocess; subprocess.run({SLEEPER!r})"
    root = subprocess.Popen([sys.executable, "-S", "-c", code])
    time.sleep(0.5)
    who = identify(root.pid)
    assert kill_tree(who, "no such mark", VARIABLE) >= 1
    assert ends(root)
    assert foreign.poll() is None


def test_this_program_is_spared() -> None:
    os.environ[VARIABLE] = "self"
    try:
        kill_tree(identify(os.getpid()), "self", VARIABLE)
    finally:
        del os.environ[VARIABLE]
