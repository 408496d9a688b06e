"""Owns output folders that appear whole or not at all.

Files are written into a hidden folder beside the target and moved into place at the end, so a run that is
stopped, killed or out of disk leaves no half result. A folder counts as ours when its `result.json` says
so; nothing else in a folder is ever deleted.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from PESemiSegLib.errors import OutputError
from PESemiSegLib.volumes.write import output_error

SEAL = "result.json"  # written last: a folder without it holds no result
KIND = "pesemiseg-result"
_PREFIX, _SUFFIX = ".pesemiseg-", ".partial"
_ABANDONED_S = 3600.0  # a save takes seconds; what nobody touched for an hour was left by a killed run


def require_free(folder: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError when a result may not be put into `folder`; call it before the long work.

    Free are a folder that is not there, an empty one, and with `overwrite` one that holds our result.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder.name} is a file; give a folder for the result")
    try:
        content = [entry for entry in folder.iterdir() if not _is_stage(entry)]
    except OSError as error:
        raise output_error(folder, error) from error
    if not content:
        return
    if not holds_result(folder):
        raise OutputError(f"folder {folder.name} holds other files; give a new or empty folder")
    if not overwrite:
        raise OutputError(f"folder {folder.name} holds a result; add --overwrite or give another folder")


def holds_result(folder: Path) -> bool:
    """Whether `folder` holds a result that this program has written."""
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(seal, dict) and seal.get("kind") == KIND


@contextmanager
def staged(folder: Path, owned: Collection[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder to write into; on success its files are moved to `folder`, else it is gone.

    `owned` are all file names that a result may have: those of an older result are replaced or removed,
    other files in `folder` stay. Raises OutputError as `require_free` does and when the disk refuses.
    """
    folder = folder.resolve()
    require_free(folder, overwrite=overwrite)
    home = folder if folder.exists() else folder.parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        stage = home / f"{_PREFIX}{folder.name}-{secrets.token_hex(4)}{_SUFFIX}"
        stage.mkdir()
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        yield stage
        _commit(stage, folder, owned)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _commit(stage: Path, folder: Path, owned: Collection[str]) -> None:
    if stage.parent != folder:
        os.rename(stage, folder)  # fails, as it should, where another run has filled the folder meanwhile
        return
    names = sorted((entry.name for entry in stage.iterdir()), key=lambda name: name == SEAL)
    outdated = set(owned) - set(names)
    try:
        _move_in(stage, folder, names, outdated)
    except KeyboardInterrupt:
        _move_in(stage, folder, names, outdated)  # milliseconds: finish rather than leave a mixture
        raise


def _move_in(stage: Path, folder: Path, names: list[str], outdated: Collection[str]) -> None:
    """Replace an older result, file by file; while it is mixed it has no seal. May be taken up again."""
    if (stage / SEAL).exists():
        (folder / SEAL).unlink(missing_ok=True)
    for name in outdated:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        if (stage / name).exists():
            os.replace(stage / name, folder / name)


def _is_stage(entry: Path) -> bool:
    return entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)


def _sweep(home: Path) -> None:
    """Remove what killed runs have left behind."""
    for entry in home.iterdir():
        if _is_stage(entry) and entry.is_dir() and time.time() - entry.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(entry, ignore_errors=True)
