"""Stopped runs: Ctrl-C, SIGTERM and SIGKILL leave no half result and do not harm an older one."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read the progress until a line begins with `words`."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(words):
            return
    raise AssertionError(f"the run ended before it said {words!r}")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_segmenting(
    number: signal.Signals, start: Start, long_chest: Path, tiny_model: Path, tmp_path: Path
) -> None:
    process = start("segment", long_chest, "-o", tmp_path / "out", "--model", tiny_model, "--whole")
    wait_for(process, "segmenting slices")
    asked = time.monotonic()
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "stopped"
    assert "Traceback" not in rest
    assert time.monotonic() - asked < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_while_writing(
    number: signal.Signals, start: Start, pesemiseg: Run, chest: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Whenever it comes, there is a whole result or none, and the next run works."""
    words = ("segment", chest, "-o", tmp_path / "out", "--model", tiny_model)
    process = start(*words)
    wait_for(process, "writing the result")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (130, 0, -number)
    if process.returncode != 0:
        assert visible(tmp_path) == []
    if number == signal.SIGTERM and process.returncode:
        assert list(tmp_path.iterdir()) == []  # SIGKILL leaves a hidden folder, that a later run removes
    if number == signal.SIGKILL:
        assert pesemiseg(*words, "--overwrite", "--no-report").returncode == 0
        assert visible(tmp_path) == ["out"]


def test_an_older_result_survives(
    start: Start,
    finished: tuple[Path, object],
    chest: Path,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    process = start("segment", chest, "-o", tmp_path / "out", "--model", tiny_model, "--overwrite")
    wait_for(process, "writing the result")
    process.kill()
    process.communicate(timeout=60)
    after = {name: (tmp_path / "out" / name).read_bytes() for name in visible(tmp_path / "out")}
    assert set(after) == set(before)
    if process.returncode != 0:
        assert after == before
