"""READ (de Andrade 2023, Scientific Data 10:518): DICOM scans of two makers with NIfTI masks, 40 patients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.adapters.base import (
    Entry,
    child,
    image_files,
    need,
    stem,
)
from PESemiSegLib.cohorts.marked import Marked, MaskReader
from PESemiSegLib.cohorts.natural import natural
from PESemiSegLib.cohorts.slice_order import mask_in_file_order
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.nifti import read_nifti
from PESemiSegLib.volumes.volume import Volume


class Read:
    """`images/GE (DICOM files)/01GE`, `images/TOSHIBA (DICOM files)/01TS` and `rs/01GE.nii.gz`.

    The masks' headers say nothing of use (z runs the other way, the spacing is rounded): their slices follow
    the files of the scan, as arrays, and take the place that the DICOM headers state.
    """

    name = "read"
    title = "READ"
    site = "READ"
    label_style = "read"

    def recognises(self, folder: Path) -> bool:
        return bool(_scans(folder)) and child(folder, "rs") is not None

    def entries(self, folder: Path) -> Iterator[Entry]:
        scans = _scans(folder)
        truths = need(child(folder, "rs"), folder, "rs")
        if not scans:
            raise InputError(f"{folder.name} has no images/... (DICOM files) with scans in it.")
        masks = {stem(path).lower(): path for path in image_files(truths)}
        for scan in scans:
            mask = masks.get(scan.name.lower())
            problem = "" if mask else f"no {scan.name}.nii.gz in {truths.name}"
            yield Entry(f"READ-{scan.name}", scan, mask_reader(mask) if mask else None, problem=problem)


def mask_reader(path: Path) -> MaskReader:
    """Reads a mask by its array alone, slices in the order of the scan's files."""

    def read(volume: Volume) -> Marked:
        stored, _, _ = read_nifti(path)
        return mask_in_file_order((stored > 0).astype(np.uint8), volume)

    return read


def _scans(folder: Path) -> list[Path]:
    images = child(folder, "images")
    makers = [p for p in sorted(images.iterdir()) if p.is_dir()] if images else []
    return [
        scan
        for maker in makers
        if "dicom files" in maker.name.lower()
        for scan in natural([p for p in maker.iterdir() if p.is_dir()])
    ]
