"""Output folders: whole or not at all, and nothing foreign is ever deleted."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.errors import OutputError
from PESemiSegLib.inference.staging import KIND, SEAL, require_free, staged

OWNED = ("a.txt", "b.txt", SEAL)


def put(
    folder: Path, *, overwrite: bool = False, meanwhile: Callable[[], None] | None = None, **files: str
) -> None:
    """Save a result of small text files, as the real one is saved; `meanwhile` something else happens."""
    with staged(folder, OWNED, overwrite=overwrite) as stage:
        for name, text in files.items():
            (stage / f"{name}.txt").write_text(text)
        if meanwhile is not None:
            meanwhile()
        (stage / SEAL).write_text(json.dumps({"kind": KIND}))


def raising(problem: type[BaseException]) -> Callable[[], None]:
    def fail() -> None:
        raise problem

    return fail


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_new_folder_with_its_parents(tmp_path: Path) -> None:
    put(tmp_path / "deep" / "out", a="1")
    assert names(tmp_path / "deep" / "out") == {"a.txt", SEAL}
    assert names(tmp_path / "deep") == {"out"}


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    with staged(tmp_path / "out", OWNED) as stage:
        (stage / "a.txt").write_text("1")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == {"out"}


def test_an_empty_folder_is_used_and_stays_the_same_folder(tmp_path: Path) -> None:
    """It may be a mount point or somebody's working directory: it must not be swapped for another."""
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    put(tmp_path / "out", a="1")
    assert (tmp_path / "out").stat().st_ino == inode
    assert names(tmp_path / "out") == {"a.txt", SEAL}


@pytest.mark.parametrize("problem", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_nothing(problem: type[BaseException], exists: bool, tmp_path: Path) -> None:
    if exists:
        (tmp_path / "out").mkdir()
    expected = OutputError if problem is OSError else problem
    with pytest.raises(expected):
        put(tmp_path / "out", a="half", meanwhile=raising(problem))
    assert names(tmp_path) == ({"out"} if exists else set())
    assert not exists or names(tmp_path / "out") == set()


def test_a_failure_keeps_the_older_result(tmp_path: Path) -> None:
    put(tmp_path / "out", a="old")
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "out", overwrite=True, a="half", meanwhile=raising(KeyboardInterrupt))
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert names(tmp_path / "out") == {"a.txt", SEAL}


def test_overwriting_must_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "out", a="old")
    with pytest.raises(OutputError, match="holds a result; add --overwrite"):
        put(tmp_path / "out", a="new")
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


def test_overwriting_replaces_ours_and_keeps_what_is_foreign(tmp_path: Path) -> None:
    put(tmp_path / "out", a="old", b="old")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    put(tmp_path / "out", overwrite=True, a="new")
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert names(tmp_path / "out") == {"a.txt", "notes.txt", SEAL}  # b.txt was of the older result


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("foreign", ["notes.txt", SEAL])
def test_a_folder_that_is_not_ours_is_refused_even_with_overwrite(
    overwrite: bool, foreign: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / foreign).write_text('{"kind": "something else"}')
    with pytest.raises(OutputError, match="holds other files"):
        put(tmp_path / "out", overwrite=overwrite, a="1")
    assert names(tmp_path / "out") == {foreign}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out is a file"):
        require_free(tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        put(tmp_path / "out" / "below", a="1")


@pytest.mark.parametrize("problem", [PermissionError, KeyboardInterrupt])
@pytest.mark.parametrize("step", range(1, 6))
def test_an_older_result_stays_whole_where_a_file_cannot_be_replaced(
    problem: type[BaseException], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is open in Excel, or Ctrl-C in the milliseconds of renaming: never old and new mixed."""
    put(tmp_path / "out", a="old", b="old")
    replace, calls = os.replace, []

    def refused(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == step:
            raise problem(13, "in use", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OutputError if problem is PermissionError else problem, match=r"open|in use"):
        put(tmp_path / "out", overwrite=True, a="new", b="new")
    assert {n: (tmp_path / "out" / n).read_text() for n in ("a.txt", "b.txt")} == dict.fromkeys(
        ("a.txt", "b.txt"), "old"
    )
    assert names(tmp_path / "out") == {"a.txt", "b.txt", SEAL}
    put(tmp_path / "out", overwrite=True, a="new", b="new")
    assert (tmp_path / "out" / "b.txt").read_text() == "new"


def test_another_run_that_was_faster_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write out"):
        put(tmp_path / "out", a="slow", meanwhile=lambda: put(tmp_path / "out", a="fast"))
    assert (tmp_path / "out" / "a.txt").read_text() == "fast"
    assert names(tmp_path) == {"out"}


def test_what_finder_leaves_does_not_block_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_text("Finder's")
    put(tmp_path / "out", a="1")
    assert names(tmp_path / "out") == {"a.txt", ".DS_Store", SEAL}


def test_a_name_that_the_system_refuses_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long; choose a shorter name"):
        require_free(tmp_path / ("x" * 300))


def test_leftovers_of_a_killed_run_do_not_block_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out" / ".pesemiseg-aa").mkdir(parents=True)
    put(tmp_path / "out", a="1")
    assert {"a.txt", SEAL} <= names(tmp_path / "out")
