"""What an adapter is: it knows one data set's layout, which scans it holds and how their masks are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PESemiSegLib.cohorts.marked import MaskReader
from PESemiSegLib.cohorts.natural import natural
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.reader import FILE_KINDS


@dataclass(frozen=True)
class Entry:
    """One scan of a data set.

    mask: a file that `volumes.read` reads and that lies on the scan's grid (it is referenced where it is), or
    a function that reads the mask in the data set's own way (it is written anew, as NIfTI); None for none.
    instances: whether the mask's values number the emboli; else `lesions` may be a file that does. site,
    label_style: where they differ from the adapter's. marks: what the mask marks, see `manifest.Case`.
    problem: why the scan cannot be used.
    """

    patient: str
    image: Path
    mask: Path | MaskReader | None = None
    instances: bool = False
    pe: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    site: str = ""
    label_style: str = ""
    lesions: Path | None = None
    marks: str = "emboli"


class Adapter(Protocol):
    """One data set's layout. `site` and `label_style` are the defaults of its manifest's columns."""

    name: str
    title: str
    site: str
    label_style: str

    def recognises(self, folder: Path) -> bool:
        """Whether a folder has this layout; looks at names only, quickly."""
        ...

    def entries(self, folder: Path) -> Iterator[Entry]:
        """The scans, in a stable order. Raises InputError where the layout is not there."""
        ...


def stem(path: Path) -> str:
    """The name without an image ending (.nii.gz counts as one, .seg.nrrd too)."""
    lower = path.name.lower()
    for suffix in (".seg.nrrd", *sorted(FILE_KINDS, key=len, reverse=True)):
        if lower.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image file other than DICOM, and not a segmentation of Slicer's."""
    lower = path.name.lower()
    return lower.endswith(tuple(FILE_KINDS)) and not lower.endswith(".seg.nrrd")


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder itself, in natural order; hidden files left out."""
    if not folder.is_dir():
        return []
    return natural(p for p in folder.iterdir() if is_image_file(p) and not p.name.startswith("."))


def child(folder: Path, *names: str) -> Path | None:
    """The sub-folder with one of these names, upper and lower case alike."""
    wanted = {name.lower() for name in names}
    if not folder.is_dir():
        return None
    return next((p for p in sorted(folder.iterdir()) if p.is_dir() and p.name.lower() in wanted), None)


def need(found: Path | None, folder: Path, what: str) -> Path:
    """A sub-folder that must be there, or an InputError."""
    if found is None:
        raise InputError(f"{folder.name} has no folder {what}; give the folder that holds it.")
    return found
