"""Made-up DICOM for the tests of `volumes`: slices of a field that is linear in the patient's millimetres.

A linear field is reproduced exactly by linear interpolation, so that wherever a voxel ends up after sorting,
flipping, shearing and resampling, its right value follows from its place alone.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 12, 16
PIXEL_MM = (0.8, 0.7)  # between rows, between columns


def field(lps: np.ndarray) -> np.ndarray:
    """HU at places (..., 3) in mm: steeper along z than y than x, so that no mix-up of axes is hidden."""
    return 40.0 + 2.0 * lps[..., 0] - 3.0 * lps[..., 1] + 5.0 * lps[..., 2]


def places(position, orientation=AXIAL, rows=ROWS, columns=COLUMNS, pixel_mm=PIXEL_MM) -> np.ndarray:
    """LPS mm (rows, columns, 3) of the pixels of a slice."""
    u, v = np.array(orientation[:3]), np.array(orientation[3:])
    j, i = np.mgrid[:rows, :columns]
    return np.array(position) + i[..., None] * u * pixel_mm[1] + j[..., None] * v * pixel_mm[0]


def plane(
    position=(0.0, 0.0, 0.0),
    *,
    orientation=AXIAL,
    hu: np.ndarray | None = None,
    number: int | None = 1,
    pixel_mm=PIXEL_MM,
    stored: np.ndarray | None = None,
    signed: bool = True,
    bits: int = 16,
    slope: float = 1.0,
    intercept: float = 0.0,
    **tags: Any,
) -> FileDataset:
    """One CT image; `tags` set further elements, None removes one."""
    if stored is None:
        if hu is None:
            hu = field(places(position, orientation, pixel_mm=pixel_mm))
        stored = np.rint((hu - intercept) / slope)
    stored = np.asarray(stored).astype(np.int16 if signed else np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, generate_uid(), "CT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = UID("1.2.3.1"), UID("1.2.3.4"), 4
    ds.PatientName, ds.PatientID, ds.StudyDate = "Secret^Name", "SECRET-7", "19990909"
    ds.SeriesDescription = "SECRET words"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [f"{p:.6g}" for p in position]
    ds.ImageOrientationPatient = [f"{c:.8f}"[:16] for c in orientation]
    ds.PixelSpacing, ds.SliceThickness = list(pixel_mm), 1
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def save(ds: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID") or CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or generate_uid()
    ds.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, positions, prefix: str = "slice", **options: Any) -> Path:
    """Slices at `positions` (z in mm, or whole LPS points), one file each; names do not follow the order."""
    for n, position in enumerate(positions):
        point = (0.0, 0.0, float(position)) if np.isscalar(position) else tuple(map(float, position))
        save(plane(point, number=n + 1, **options), folder / f"{prefix}{(n * 7) % 101:03d}.dcm")
    return folder


def assert_field(
    volume, *, tolerance: float = 1.0, inside: tuple[slice, slice, slice] = np.s_[:, :, :]
) -> None:
    """Every voxel holds the value of the place where the volume says it lies."""
    z, y, x = volume.shape
    k, j, i = np.mgrid[:z, :y, :x]
    wanted = field(volume.grid.to_lps(np.stack([i, j, k], axis=-1)))
    np.testing.assert_allclose(volume.hu[inside], wanted[inside], atol=tolerance)


@pytest.fixture(scope="session")
def dicom() -> SimpleNamespace:
    return SimpleNamespace(
        plane=plane,
        save=save,
        series=series,
        field=field,
        places=places,
        assert_field=assert_field,
        axial=AXIAL,
    )
