"""Plain folders of scans and masks, for the collections that follow no published layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import has_mask, is_mask_file, pairs, two_folders
from PESemiSegLib.cohorts.adapters.persons import joined
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
        return two_folders(folder) is not None or has_mask(folder, is_mask_file)

    def entries(self, folder: Path) -> Iterator[Entry]:
        found = list(pairs(folder, is_mask_file, lambda path: path))
        if not any(entry.mask or entry.problem for entry in found):
            raise InputError(
                f"{folder.name} holds no scan beside a mask; masks in DICOM SEG need the layout "
                "dicom_seg, for the others see Docs/cohorts.md."
            )
        return joined(found)
