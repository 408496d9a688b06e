"""FUMPE (Masoudi 2018, Scientific Data 5:180180): 35 DICOM scans with MATLAB masks, strict style."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.adapters.base import Entry, child, need
from PESemiSegLib.cohorts.marked import Marked, MaskReader
from PESemiSegLib.cohorts.matfile import read_mat
from PESemiSegLib.cohorts.natural import natural
from PESemiSegLib.cohorts.slice_order import mask_in_file_order
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.volume import Volume


class Fumpe:
    """`CT_scans/PAT001/D0001.dcm...` and `GroundTruth/PAT001.mat` with `Mask`, axes (rows, columns, slices).

    The slices of `Mask` follow the file names. Two of the scans were taken from the head to the feet, so that
    a reader which sorts by position turns the image but not the mask: here both are put in order together.
    The two patients without emboli have an empty mask.
    """

    name = "fumpe"
    title = "FUMPE"
    site = "FUMPE"
    label_style = "strict"

    def recognises(self, folder: Path) -> bool:
        return all(path is not None for path in _parts(folder))

    def entries(self, folder: Path) -> Iterator[Entry]:
        scans, truths = _parts(folder)
        scans, truths = need(scans, folder, "CT_scans"), need(truths, folder, "GroundTruth")
        masks = {path.stem.lower(): path for path in truths.iterdir() if path.suffix.lower() == ".mat"}
        found = natural([path for path in scans.iterdir() if path.is_dir()])
        if not found:
            raise InputError(f"{scans.name} holds no scan; unpack the data set again.")
        for scan in found:
            mask = masks.get(scan.name.lower())
            problem = "" if mask else f"no {scan.name}.mat in {truths.name}"
            yield Entry(scan.name, scan, mask_reader(mask) if mask else None, problem=problem)


def mask_reader(path: Path) -> MaskReader:
    """Reads `Mask` of a .mat file for the scan it belongs to."""

    def read(volume: Volume) -> Marked:
        stored = read_mat(path, "Mask")
        if stored.ndim == 2:
            stored = stored[..., None]  # MATLAB drops a last axis of one
        if stored.ndim != 3:
            raise InputError(f"Mask in {path.name} has {stored.ndim} axes, not rows, columns and slices")
        return mask_in_file_order((stored != 0).astype(np.uint8).transpose(2, 0, 1), volume)

    return read


def _parts(folder: Path) -> tuple[Path | None, Path | None]:
    root = child(folder, "FUMPE") or folder
    return child(root, "CT_scans"), child(root, "GroundTruth")
