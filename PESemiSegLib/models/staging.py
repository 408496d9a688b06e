"""Package folders that appear whole or not at all, in the words of this room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.errors import OutputError


@contextmanager
def staged_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends without error it becomes `target`.

    What `overwrite` replaces is deleted after the new folder is in place, and stays where that fails.

    Raises:
        OutputError: if `target` exists and `overwrite` is off (also when another process makes it meanwhile),
            or the disk refuses.
    """
    try:
        with whole_folder(target, overwrite=overwrite) as stage:
            yield stage
    except FileExistsError as error:
        raise taken(target) from error
    except OSError as error:
        raise OutputError(f"{target.name} cannot be written: {error.strerror or error}") from error


def taken(target: Path) -> OutputError:
    """The error for a name that is there already."""
    return OutputError(f"{target.name} exists already: remove it, choose another name, or ask to overwrite")
