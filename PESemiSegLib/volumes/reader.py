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
    return _read_dicom(path)


def _read_file(path: Path, kind: str) -> Volume:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    affine = make_affine(image.GetSpacing(), image.GetOrigin(), np.reshape(image.GetDirection(), (3, 3)))
    stack = np.clip(np.rint(sitk.GetArrayViewFromImage(image)), -32768, 32767).astype(np.int16)
    return build_volume(stack, affine, SeriesFacts(kind=kind, source_name=path.name))


def _read_dicom(path: Path) -> Volume:
    import pydicom
    from pydicom.pixels import apply_rescale

    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    datasets = []
    for file in files:
        try:
            ds = pydicom.dcmread(file)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if "ImagePositionPatient" in ds:
            datasets.append((file, ds))
    if not datasets:
        raise InputError(f"{path.name}: no CT images in this folder")
    first = datasets[0][1]
    u, v = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(u, v)
    datasets.sort(key=lambda item: float(normal @ np.array(item[1].ImagePositionPatient, float)))
    origins = np.array([ds.ImagePositionPatient for _, ds in datasets], float)
    affine = np.eye(4)
    affine[:3, 0] = u * float(first.PixelSpacing[1])
    affine[:3, 1] = v * float(first.PixelSpacing[0])
    affine[:3, 2] = (origins[-1] - origins[0]) / (len(origins) - 1) if len(origins) > 1 else normal
    affine[:3, 3] = origins[0]
    stack = np.stack(
        [np.clip(apply_rescale(ds.pixel_array, ds), -1024, 32767).astype(np.int16) for _, ds in datasets]
    )
    facts = SeriesFacts(kind="dicom", source_name=path.name, source_files=tuple(file for file, _ in datasets))
    return build_volume(stack, affine, facts)
