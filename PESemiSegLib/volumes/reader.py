"""`read`: one door for a DICOM folder or file, NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

from ..errors import InputError
from .grid import Grid
from .volume import Volume

FILE_KINDS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}


def read(path: str | Path, series: str | int | None = None, *, labels: bool = False) -> Volume:
    """Read a CT.

    Args:
        path: DICOM folder (searched with its subfolders) or file, .nii(.gz), .nrrd/.nhdr or .mha/.mhd.
        series: which DICOM series, where there are several: a series number, a SeriesInstanceUID, or
            "index:N" of the list that the error for an unclear choice prints.
        labels: it is a mask. Where it must be brought to a straight grid its values are never mixed, and
            beyond its own grid there is 0, not air.

    Raises:
        InputError: one line that says what is wrong, with which file, and what to do.
    """
    path = Path(os.path.abspath(path))  # so that "." has a name to show
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise InputError(f"{path.name}: no file or folder that can be read ({reason})") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path.name}: neither a file nor a folder; give an image")
    kind = _file_kind(path)
    if kind and stat.S_ISREG(mode):
        from .files import read_file

        return read_file(path, kind, labels=labels)
    from .dicom import read_dicom

    with warnings.catch_warnings():  # pydicom warns of each odd value in each file
        warnings.simplefilter("ignore")
        return read_dicom(path, series, labels=labels)


def stored_grid(path: Path) -> Grid | None:
    """The grid of a NIfTI file as it is stored, by its header alone; None for what only `read` can place.

    Scans that are stored on one grid are read on one grid; the reverse need not be. Raises InputError.
    """
    if _file_kind(path) != "nifti":
        return None
    from .nifti import read_nifti_grid

    return read_nifti_grid(path)


def _file_kind(path: Path) -> str | None:
    return next((kind for suffix, kind in FILE_KINDS.items() if path.name.lower().endswith(suffix)), None)
