"""All image planes below a folder, and what could not be read there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .dicom_headers import Plane, read_planes

IMAGE_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".img")  # an empty file so named was meant to be an image
DICOMDIR = "1.2.840.10008.1.3.10"


class Problem(NamedTuple):
    """What is wrong with one file. File names can hold a patient's: an error may say them, a warning not."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclass
class Scan:
    """What lies below a path: planes (and objects without pixels), and what could not be read."""

    planes: list[Plane] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    foreign: int = 0


def scan(path: Path) -> Scan:
    """Read the headers of every file below a folder, or of one file (for a DICOMDIR: of its folder).

    Raises:
        InputError: if the folder cannot be listed.
    """
    found = Scan()
    if not path.is_dir():
        if _is_dicomdir(path):
            return scan(path.parent)
        _add(found, path)
        return found
    try:
        next(iter(os.scandir(path)), None)
    except OSError as error:
        raise InputError(f"{path.name}: {_reason(error)}; check the folder's permissions") from error
    for folder, folders, names in os.walk(path, onerror=lambda error: _denied(found, error)):
        folders.sort()
        for name in sorted(names):
            _add(found, Path(folder) / name)
    return found


def _add(found: Scan, path: Path) -> None:
    try:
        if path.exists() and not path.is_file():  # a pipe would block for ever
            found.foreign += 1
            return
        planes = read_planes(path)
        empty = not planes and path.suffix.lower() in IMAGE_SUFFIXES and path.stat().st_size == 0
    except ValueError as error:
        found.problems.append(Problem(path.name, str(error)))
        return
    except OSError as error:
        found.problems.append(Problem(path.name, _reason(error)))
        return
    if empty:
        found.problems.append(Problem(path.name, "it is empty (0 bytes)"))
    found.foreign += not planes
    found.planes.extend(plane for plane in planes if plane.sop_class != DICOMDIR)


def _is_dicomdir(path: Path) -> bool:
    try:
        return any(plane.sop_class == DICOMDIR for plane in read_planes(path))
    except (ValueError, OSError):
        return False


def _denied(found: Scan, error: OSError) -> None:
    found.problems.append(Problem(Path(error.filename or "").name, _reason(error)))


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"it cannot be opened ({error.strerror or type(error).__name__})"
