"""Files and folders that appear whole or not at all: written aside under a name of no meaning, then renamed.

The standard library alone, since the programs that watch a job use it too. What goes wrong is an OSError;
the rooms turn it into their own words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

BUSY_S = 0.5  # Windows refuses to replace a file that someone has open, for as long as they read
_MARK = ".pesemiseg-"
_OURS = re.compile(
    r"\.pesemiseg-([0-9a-f]{12}|\d+-[0-9a-f]{8}\.zip)"
)  # what is written, and what is downloaded
_KEPT = _MARK + "kept-"  # before a name: results that could not go back, for their owner to find
_LITTER = (".ds_store", "desktop.ini", "thumbs.db")
_ABANDONED_S = 24 * 3600.0
T = TypeVar("T")


@contextmanager
def whole_file(
    path: Path, *, durable: bool = False, mode: int = 0o666, patience_s: float = BUSY_S
) -> Iterator[Path]:
    """Give an empty file beside `path` to write; it replaces `path` when the block ends well, else it goes.

    durable: beyond a power cut. mode: of a new file, less the umask. patience_s: see `while_busy`.
    """
    aside = _aside(path.parent)
    try:
        aside.touch(mode=mode, exist_ok=False)
        yield aside
        if durable:
            flush_to_disk(aside)
        while_busy(lambda: os.replace(aside, path), patience_s)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False, mode: int = 0o777) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well it becomes `path`, else it is gone.

    With `overwrite` it takes the place of what is there, which is deleted after that, and comes back where
    the new folder cannot take its place. Raises FileExistsError where `path` is taken, also when another
    process takes it meanwhile.
    """
    if os.path.lexists(path) and not overwrite:
        raise _taken(path)
    with stage_in(path.parent, mode) as stage:
        yield stage
        _swap(stage, path, overwrite)


@contextmanager
def stage_in(home: Path, mode: int = 0o777) -> Iterator[Path]:
    """Give a new folder in `home`, unseen by those who list it; it goes when the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    sweep(home)
    stage = _aside(home)
    try:  # from before it is there: Ctrl-C may come with the return of mkdir
        stage.mkdir(mode=mode)
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def move_in(stage: Path, folder: Path, *, seal: str, outdated: Collection[str] = ()) -> None:
    """Put all files of `stage` into `folder`, which stays the same folder, or leave it as it was.

    What they replace, and the files named `outdated`, wait aside and come back where a step fails. The file
    `seal` tells that the folder is whole: it goes first and comes last.
    """
    new = sorted((entry.name for entry in stage.iterdir()), key=lambda name: name == seal)
    old = sorted({*new, *outdated, seal}, key=lambda name: name != seal)
    aside = _aside(folder)
    steps = [(folder / name, aside / name) for name in old if (folder / name).exists()]
    steps += [(stage / name, folder / name) for name in new]
    try:
        aside.mkdir()
        for source, target in steps:
            while_busy(partial(os.replace, source, target))
    except BaseException:
        for source, target in reversed(steps):
            if target.exists() and not source.exists():
                with suppress(OSError):
                    os.replace(target, source)
        with suppress(OSError):
            aside.rmdir()
        if aside.exists():  # it holds what could not go back, which is nobody's to sweep
            with suppress(OSError):
                os.rename(aside, folder / f"{_KEPT}{secrets.token_hex(6)}")
        raise
    shutil.rmtree(aside, ignore_errors=True)


def discard(path: Path) -> bool:
    """Remove a file or folder so that others see all or nothing of it; whether there was one to remove."""
    aside = _aside(path.parent)
    try:
        while_busy(lambda: os.rename(path, aside))
    except FileNotFoundError:
        return False
    _remove(aside)
    return True


def sweep(home: Path, older_than_s: float = _ABANDONED_S) -> None:
    """Remove what killed processes have left aside in `home`: by default more than a day ago.

    Only what bears a name that is made here: a `.pesemiseg-data` is somebody's own.
    """
    for left in home.glob(f"{_MARK}*"):
        with suppress(OSError):
            if _OURS.fullmatch(left.name) and time.time() - left.stat().st_mtime > older_than_s:
                _remove(left)


def is_aside(path: Path) -> bool:
    """Whether `path` is named as what is being written, or was when its process was killed."""
    return path.name.startswith(_MARK)


def is_system_litter(name: str) -> bool:
    """Whether a file of this name was put there by the system (Finder, Explorer), and not by anybody."""
    return name.startswith("._") or name.lower() in _LITTER


def while_busy(act: Callable[[], T], patience_s: float = BUSY_S) -> T:
    """`act()`, again for a moment where Windows says that another program has the file open."""
    deadline: float | None = None  # from the first refusal on
    while True:
        try:
            return act()
        except PermissionError:
            now = time.monotonic()
            deadline = now + patience_s if deadline is None else deadline
            if os.name != "nt" or now > deadline:
                raise
            time.sleep(0.02)


def flush_to_disk(path: Path) -> None:
    """Make a finished file survive a power cut."""
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


def sha256_of(path: Path) -> str:
    """A file's SHA-256 as lower-case hexadecimal digits: by which it is known to be whole still."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _swap(stage: Path, path: Path, overwrite: bool) -> None:
    old = _aside(path.parent)
    try:
        if overwrite:
            with suppress(FileNotFoundError):
                while_busy(lambda: os.rename(path, old))
        while_busy(lambda: os.rename(stage, path))
    except BaseException as error:
        with suppress(OSError):
            os.rename(old, path)
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise _taken(path) from error
        raise
    finally:
        if os.path.lexists(path):
            _remove(old)


def _aside(home: Path) -> Path:
    return home / f"{_MARK}{secrets.token_hex(6)}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path.name)
