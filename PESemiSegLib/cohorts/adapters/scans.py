"""A tree of scans without masks, as a hospital exports them: the unlabelled pool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry, stem
from PESemiSegLib.cohorts.adapters.pairing import walk
from PESemiSegLib.cohorts.adapters.persons import joined
from PESemiSegLib.errors import InputError


class Scans:
    """Every folder of DICOM slices and every image file is one scan.

    The first folder below the top is the patient, or the file's own name; see also `joined`.
    """

    name = "scans"
    title = "scans without masks"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return next(walk(folder, top=True), None) is not None

    def entries(self, folder: Path) -> Iterator[Entry]:
        images = list(walk(folder, top=True))
        if not images:
            raise InputError(f"{folder.name} holds no scan: no DICOM slices, NIfTI, NRRD or MetaImage.")
        return joined(Entry(_top(image, folder), image) for image in images)


def _top(image: Path, folder: Path) -> str:
    parts = image.relative_to(folder).parts
    if len(parts) > 1 or image.is_dir():
        return parts[0] if parts else folder.name
    return stem(image).removesuffix("_0000")
