"""Small scans in the formats of published data sets: a chest with clots in its vessels, and its true mask."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (8, 64, 64)
PIXEL_MM, SLICE_MM = 0.8, 2.0


def chest(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """int16 HU and uint8 mask, (z, y, x), z ascending; nothing is symmetric, so that no turn is hidden."""
    rng = np.random.default_rng(seed)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 4:60, 3:61] = 50
    hu[:, 12:50, 6:28] = -850
    hu[:, 12:52, 36:58] = -850
    hu[:, 20:32, 10:24] = 350  # a large vessel in the right lung of the lower slices
    hu[5:, 20:32, 10:24] = -850
    hu[1:4, 22:30, 12:20] = 50  # with a clot
    hu[:, 40:46, 44:54] = 300
    hu = (hu + rng.normal(0, 8, SHAPE)).clip(-1024).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 22:30, 12:20] = 1
    return hu, mask


def write_dicom(
    folder: Path,
    hu: np.ndarray,
    *,
    descending: bool = False,
    name: str = "D{:04d}.dcm",
    patient: str = "SECRET-7",
    numbers: list[int] | None = None,
    **tags: Any,
) -> Path:
    """One file a slice, named in the order of acquisition: from the feet up, or from the head down."""
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    order = range(len(hu))[::-1] if descending else range(len(hu))
    for n, z in enumerate(order, start=1):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientName, ds.PatientID, ds.Modality = "Secret^Name", patient, "CT"
        ds.PatientBirthDate, ds.PatientSex, ds.StudyDate, ds.StudyTime = "", "", "", ""
        ds.AccessionNumber, ds.StudyID, ds.SeriesNumber = "", "", 2
        ds.ImageType, ds.InstanceNumber = (
            ["ORIGINAL", "PRIMARY", "AXIAL"],
            (numbers or list(range(99)))[n - 1] + 1,
        )
        ds.ImagePositionPatient = [0, 0, SLICE_MM * z - 100]
        ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [PIXEL_MM, PIXEL_MM]
        ds.SliceThickness, ds.Rows, ds.Columns = SLICE_MM, *hu.shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelData = (hu[z] + 1024).clip(0).astype(np.uint16).tobytes()
        ds["PixelData"].VR = "OW"
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        ds.save_as(folder / name.format(n), enforce_file_format=True)
    return folder


def write_image(
    path: Path, array: np.ndarray, spacing=(PIXEL_MM, PIXEL_MM, SLICE_MM), origin=(0, 0, -100)
) -> Path:
    """NIfTI or NRRD on the grid of `write_dicom`."""
    import SimpleITK as sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="session")
def sets() -> SimpleNamespace:
    """The writers, and the chest with its true mask."""
    hu, mask = chest()
    return SimpleNamespace(hu=hu, mask=mask, chest=chest, dicom=write_dicom, image=write_image)
