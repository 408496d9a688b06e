"""Folders that appear whole or not at all: written aside, then renamed into place."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from PESemiSegLib.errors import OutputError

_MARK = ".pesemiseg-"
_STALE_SECONDS = 24 * 3600


@contextmanager
def staged_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends without error it becomes `target`.

    Raises:
        OutputError: if `target` exists and `overwrite` is off (also when another process makes it meanwhile),
            or the disk refuses.
    """
    stage = _aside(target)
    try:
        if target.exists() and not overwrite:
            raise _exists(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        stage.mkdir()
        yield stage
        if overwrite:
            discard(target)
        _rename(stage, target)
    except OSError as error:
        raise OutputError(f"{target.name} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def discard(folder: Path) -> bool:
    """Remove a folder so that others see it either whole or not at all; whether there was one to remove."""
    aside = _aside(folder)
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def sweep(parent: Path) -> None:
    """Remove what killed processes left aside more than a day ago."""
    for left in parent.glob(f"{_MARK}*"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:
            continue


def _aside(target: Path) -> Path:
    return target.parent / f"{_MARK}{os.getpid()}-{uuid4().hex[:8]}"


def _rename(stage: Path, target: Path) -> None:
    try:
        stage.rename(target)
    except OSError as error:
        raise (_exists(target) if target.exists() else error) from error


def _exists(target: Path) -> OutputError:
    return OutputError(f"{target.name} exists already: remove it, choose another name, or ask to overwrite")
