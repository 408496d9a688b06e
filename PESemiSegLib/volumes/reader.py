"""`read`: one door for a DICOM folder or file, NIfTI, NRRD and MetaImage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .grid import make_affine
from .volume import SeriesFacts, Volume, build_volume

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
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path.name}: no such file or folder")
    kind = next((k for suffix, k in FILE_KINDS.items() if path.name.lower().endswith(suffix)), None)
    if kind:
        return _read_file(path, kind)
    from .dicom import read_dicom

    return read_dicom(path, series)


def _read_file(path: Path, kind: str) -> Volume:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    affine = make_affine(image.GetSpacing(), image.GetOrigin(), np.reshape(image.GetDirection(), (3, 3)))
    stack = np.clip(np.rint(sitk.GetArrayViewFromImage(image)), -32768, 32767).astype(np.int16)
    return build_volume(stack, affine, SeriesFacts(kind=kind, source_name=path.name))
