"""Owns where jobs lie: the folder of all jobs, and how a program finds them again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.atomic import whole_file
from PESemiSegLib.jobs.files import PRIVATE
from PESemiSegLib.user_data import data_folder

POINTER_SUFFIX = ".at"  # a text file that says where a job lies that was given a folder of its own


def jobs_folder() -> Path:
    """The folder of all jobs; it may not exist yet."""
    return data_folder() / "jobs"


def known_folders(root: Path | None = None) -> Iterator[Path]:
    """Every folder that may hold a job: those in `root`, and those that a pointer there leads to."""
    root = root or jobs_folder()
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.suffix == POINTER_SUFFIX:
            if target := _target(entry):
                yield target
        elif entry.is_dir():
            yield entry


def write_pointer(name: str, folder: Path, root: Path | None = None) -> None:
    """Remember a job that lies outside the folder of all jobs. Raises OSError."""
    root = root or jobs_folder()
    root.mkdir(parents=True, exist_ok=True)
    with whole_file(root / (name + POINTER_SUFFIX), mode=PRIVATE) as aside:
        aside.write_bytes(os.fsencode(folder))


def remove_pointer(name: str, root: Path | None = None) -> bool:
    """Forget a job that lies elsewhere; whether it was known. Raises OSError."""
    pointer = (root or jobs_folder()) / (name + POINTER_SUFFIX)
    known = pointer.exists()
    pointer.unlink(missing_ok=True)
    return known


def _target(pointer: Path) -> Path | None:
    try:
        text = os.fsdecode(pointer.read_bytes()).strip()
    except (OSError, ValueError):
        return None
    return Path(text) if text else None
