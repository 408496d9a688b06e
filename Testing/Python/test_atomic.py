"""Whole or not at all: whatever step fails, whoever is faster, and on a Windows that has a file open."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib import atomic
from PESemiSegLib.atomic import discard, move_in, sweep, whole_file, whole_folder

PROBLEMS = [OSError, PermissionError, ValueError, KeyboardInterrupt, SystemExit]


def tree(folder: Path) -> dict[str, str]:
    """All that lies in a folder, hidden things too, with its content."""
    return {p.relative_to(folder).as_posix(): p.read_text() if p.is_file() else "" for p in folder.rglob("*")}


def fill(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def put(path: Path, text: str, problem: type[BaseException] | None = None) -> None:
    """Write a file whole; whatever was there before stays until the end."""
    before = path.read_text() if path.exists() else None
    with whole_file(path, durable=True) as aside:
        aside.write_text(text)
        assert (path.read_text() if path.exists() else None) == before
        if problem is not None:
            raise problem


def failing_at(step: int, problem: type[BaseException]) -> Callable[..., None]:
    """A rename that fails once, at its `step`-th call, before it has done anything or after."""
    true, calls = os.rename, []

    def rename(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == step and issubclass(problem, Exception):
            raise problem("refused")
        true(source, target)
        if len(calls) == step:
            raise problem  # as Ctrl-C comes: the call is done, the next line is not reached

    return rename


def patch_renames(monkeypatch: pytest.MonkeyPatch, rename: Callable[..., None]) -> None:
    monkeypatch.setattr(atomic.os, "rename", rename)
    monkeypatch.setattr(atomic.os, "replace", rename)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, problem: type[BaseException]) -> None:
    for content in (None, "old"):
        with pytest.raises(problem):
            put(tmp_path / "a", "half", problem)
        assert tree(tmp_path) == ({"a": content} if content else {})
        (tmp_path / "a").write_text("old")
    put(tmp_path / "a", "new")
    assert tree(tmp_path) == {"a": "new"}


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_modes_are_those_asked_for(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a", mode=0o600) as aside:
        aside.write_text("mine")
    with whole_folder(tmp_path / "b", mode=0o700):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")]
    assert modes == [0o600, 0o700]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("step", [1, 2])
def test_an_older_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, problem: type[BaseException]
) -> None:
    fill(tmp_path / "x", a="old")
    patch_renames(monkeypatch, failing_at(step, problem))
    with pytest.raises(problem), whole_folder(tmp_path / "x", overwrite=True) as stage:
        fill(stage, a="new")
    # a Ctrl-C that comes when all is done finds the new folder, any other failure the old one
    done = step == 2 and not issubclass(problem, Exception)
    assert tree(tmp_path) == {"x": "", "x/a": "new" if done else "old"}


def test_a_stop_that_comes_with_the_return_of_mkdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder, stage) = (fill(tmp_path / name, file=name) for name in ("folder", "stage"))
    before = tree(tmp_path)
    mkdir = Path.mkdir

    def stopped(path: Path, *args: object, **kwargs: object) -> None:
        mkdir(path, *args, **kwargs)  # type: ignore[arg-type]
        if atomic.is_aside(path):
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", stopped)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "new"):
        pass
    with pytest.raises(KeyboardInterrupt):
        move_in(stage, folder, seal="file")
    assert tree(tmp_path) == before


def test_a_folder_that_is_taken(tmp_path: Path) -> None:
    fill(tmp_path / "x", a="old")
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "x"):
        raise AssertionError("asked before the work")
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "y"):
        fill(tmp_path / "y", a="faster")
    assert tree(tmp_path) == {"x": "", "x/a": "old", "y": "", "y/a": "faster"}


def test_two_that_overwrite_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other comes between our setting the old folder aside and our rename: theirs stays, old goes."""
    fill(tmp_path / "x", a="old")
    true = os.rename

    def raced(source: Path, target: Path) -> None:
        true(source, target)
        monkeypatch.setattr(atomic.os, "rename", true)
        fill(tmp_path / "x", a="theirs")

    monkeypatch.setattr(atomic.os, "rename", raced)
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "x", overwrite=True) as stage:
        fill(stage, a="ours")
    assert tree(tmp_path) == {"x": "", "x/a": "theirs"}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("step", range(1, 7))
def test_files_are_moved_in_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, problem: type[BaseException]
) -> None:
    """Six renames: seal, a and the outdated b away, a, c and the seal in. Any of them may be refused."""
    old = {"a": "old", "b": "old", "seal": "old", "mine": "foreign"}
    folder, stage = fill(tmp_path / "out", **old), fill(tmp_path / "stage", a="new", c="new", seal="new")
    patch_renames(monkeypatch, failing_at(step, problem))
    with pytest.raises(problem):
        move_in(stage, folder, seal="seal", outdated={"b", "a.never"})
    assert tree(folder) == old
    move_in(stage, folder, seal="seal", outdated={"b", "a.never"})
    assert tree(folder) == {"a": "new", "c": "new", "seal": "new", "mine": "foreign"}


def test_a_busy_file_is_tried_again_on_windows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def busy_twice() -> str:
        calls.append(0)
        if len(calls) < 3:
            raise PermissionError(errno.EACCES, "in use")
        return "done"

    with pytest.raises(PermissionError):
        atomic.while_busy(busy_twice)
    monkeypatch.setattr(atomic.os, "name", "nt")
    assert atomic.while_busy(busy_twice) == "done"
    calls.clear()
    with pytest.raises(PermissionError):
        atomic.while_busy(busy_twice, patience_s=-1)


def test_leftovers_go_after_a_day_and_foreign_files_never(tmp_path: Path) -> None:
    young, others = ".pesemiseg-0123456789ab", {".other", ".pesemiseg-data", ".pesemiseg-kept-0123456789ab"}
    for name in (".pesemiseg-ba9876543210", ".pesemiseg-77-0123abcd.zip", young, *others):
        fill(tmp_path / name, half="half")
        os.utime(tmp_path / name, (0, 0) if name != young else None)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {young, *others}
    assert discard(tmp_path / ".other")
    assert not discard(tmp_path / ".other")
    assert {path.name for path in tmp_path.iterdir()} == {young, *others} - {".other"}
