"""Owns output folders that appear whole or not at all.

Files are written into a hidden folder beside the target and moved into place at the end, so a run that is
stopped, killed, out of disk or refused a file leaves no half result. A folder counts as ours when its
`result.json` says so; nothing else in a folder is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from PESemiSegLib.atomic import is_aside, is_system_litter, move_in, stage_in, whole_folder
from PESemiSegLib.errors import OutputError
from PESemiSegLib.volumes.write import output_error

SEAL = "result.json"  # written last: a folder without it holds no result
KIND = "pesemiseg-result"


def require_free(folder: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError when a result may not be put into `folder`; call it before the long work.

    Free are a folder that is not there, an empty one, and with `overwrite` one that holds our result.
    """
    try:
        folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:  # no permission, a name too long: said now, and not after the work
        raise output_error(folder, error) from error
    if not folder.is_dir():
        raise OutputError(f"{folder.name} is a file; give a folder for the result")
    try:
        content = [entry for entry in folder.iterdir() if not _is_nobodys(entry)]
    except OSError as error:
        raise output_error(folder, error) from error
    if not content:
        return
    if not holds_result(folder):
        raise OutputError(f"folder {folder.name} holds other files; give a new or empty folder")
    if not overwrite:
        raise OutputError(f"folder {folder.name} holds a result; add --overwrite or give another folder")


def _is_nobodys(entry: Path) -> bool:
    return is_aside(entry) or is_system_litter(entry.name)


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
    other files in `folder` stay, and so does all of an older result where one of its files cannot be
    replaced. Raises OutputError as `require_free` does and when the disk refuses.
    """
    folder = folder.resolve()
    require_free(folder, overwrite=overwrite)
    try:
        if not folder.exists():
            with whole_folder(folder) as stage:
                yield stage
            return
        with stage_in(folder) as stage:
            yield stage
            _replace(stage, folder, owned)
    except OSError as error:
        raise output_error(folder, error) from error


def _replace(stage: Path, folder: Path, owned: Collection[str]) -> None:
    try:
        move_in(stage, folder, seal=SEAL, outdated=owned)
    except PermissionError as error:
        name = Path(error.filename or folder).name
        raise OutputError(
            f"cannot replace {name}: it may be open in another program; close it there, or give another "
            "folder; what was there is as it was"
        ) from error
