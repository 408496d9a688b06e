"""Plain folders of scans and masks, for the collections that follow no published layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import is_mask_file, pairs, two_folders
from PESemiSegLib.errors import InputError


class Pairs:
    """`images/p7.nii.gz` with `masks/p7.nii.gz`; `p7/ct.nii.gz` with `p7/mask.nii.gz`; or `p7_ct`, `p7_mask`.

    Scans are image files or folders of DICOM slices, masks image files on the scan's grid; scans without a
    mask become unlabelled.
    """

    name = "pairs"
    title = "folders of scans and masks"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        if two_folders(folder) is not None:
            return True
        near = [folder, *(p for p in sorted(folder.iterdir())[:20] if p.is_dir())]
        return any(is_mask_file(path) for place in near for path in place.iterdir())

    def entries(self, folder: Path) -> Iterator[Entry]:
        found = list(pairs(folder, is_mask_file, lambda path: path))
        if not any(entry.mask for entry in found):
            raise InputError(
                f"{folder.name} holds no scan beside a mask; see Docs/cohorts.md for the layouts."
            )
        return iter(found)
