"""`read`: one door for a DICOM folder or file, NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from .volume import Volume

FILE_KINDS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}


def read(path: str | Path, series: str | int | None = None) -> Volume:
    """Read a CT.

    Args:
        path: DICOM folder or file, .nii(.gz), .nrrd/.nhdr or .mha/.mhd.
        series: which DICOM series, where there are several.

    Raises:
        InputError: one line that says what is wrong, with which file, and what to do.
    """
    path = Path(os.path.abspath(path))  # a name to show, for "." too
    try:
        path.stat()
    except OSError as error:
        raise InputError(
            f"{path.name}: no such file or folder that can be read ({error.strerror})"
        ) from error
    kind = next((k for suffix, k in FILE_KINDS.items() if path.name.lower().endswith(suffix)), None)
    if kind and not path.is_dir():
        from .files import read_file

        return read_file(path, kind)
    from .dicom import read_dicom

    return read_dicom(path, series)
