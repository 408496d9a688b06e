"""The header of a DICOM file as image planes: only what reading a CT needs, never the patient's data."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .dicom_values import integer, number, numbers, tag_and_vr, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

# What a header is read for; all other elements are skipped without being parsed.
# fmt: off
TAGS = [
    "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "Modality", "SeriesDescription", "AcquisitionNumber", "AcquisitionTime",
    "AcquisitionDateTime", "ContentTime", "TriggerTime", "NominalPercentageOfCardiacPhase",
    "TemporalPositionIdentifier", "KVP", "ConvolutionKernel", "SliceThickness", "SpacingBetweenSlices",
    "GantryDetectorTilt", "ContrastBolusAgent", "ContrastBolusAgentSequence", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "LossyImageCompression", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]
# fmt: on
EXPECTED = ("SeriesInstanceUID", "SOPClassUID", "Modality", "InstanceNumber")
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
)
UNCOMPRESSED = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)

CT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
)
LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.55",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.112",
)
ABSENT = -1  # offset of pixel data that is not there


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How one file stores its pixels. `offset` is where uncompressed pixels start in the file, if known."""

    transfer_syntax: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    offset: int | None

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


@dataclass(slots=True)
class Plane:
    """One image plane (a file, or a frame of a multi-frame file) or an object without pixels."""

    path: Path
    frame: int = 0  # from 0
    pixels: PixelLayout | None = None
    modality: str = ""
    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    description: str = field(default="", repr=False)
    image_type: tuple[str, ...] = ()
    position_lps: tuple[float, ...] | None = None  # centre of the first pixel
    orientation: tuple[float, ...] | None = None  # along a row, then along a column
    pixel_spacing_mm: tuple[float, ...] | None = None  # between rows, between columns
    slice_thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    tilt_degrees: float = 0.0
    kernel: str = ""
    kvp: float | None = None
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    padding: tuple[int, int] | None = None
    contrast_agent: bool | None = None
    lossy: bool = False
    phase: dict[str, Any] = field(default_factory=dict)  # what may tell images at one position apart
    missing: tuple[str, ...] = ()


def read_planes(path: Path) -> list[Plane]:
    """The planes of one file: none if it is not DICOM, one without pixels if it holds something else than CT.

    Raises:
        ValueError: with a few words on what is wrong with the file.
        OSError: if it cannot be opened.
    """
    import pydicom

    with path.open("rb") as file, pydicom.config.disable_value_validation():
        if not _sniff(file):
            return []
        try:
            ds = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=[tag_and_vr(t)[0] for t in TAGS]
            )
        except Exception as error:  # a damaged header makes pydicom raise almost anything
            raise ValueError("its DICOM header is damaged") from error
        plane = _plane(path, ds)
        if not is_ct_image(plane):
            return [plane]
        syntax = _transfer_syntax(ds)
        offset = _pixel_offset(file, syntax, implicit=bool(ds.original_encoding[0]))
        size = path.stat().st_size
    plane.pixels = layout = _layout(ds, syntax, offset)
    if layout is None or offset == ABSENT:
        raise ValueError("it is truncated or holds no pixel data")
    if layout.offset is not None and size < layout.offset + layout.frame_bytes * layout.frames:
        raise ValueError(f"it is truncated ({size} bytes, too few for its pixels)")
    plane.lossy = plane.lossy or syntax in LOSSY
    if "PerFrameFunctionalGroupsSequence" in ds:
        from .dicom_enhanced import frame_planes

        return frame_planes(plane, ds)
    if layout.frames > 1:
        raise ValueError(f"it holds {layout.frames} frames but does not say where they lie")
    return [plane]


def _sniff(file: BinaryIO) -> bool:
    """Whether a file is DICOM: by its mark, or (old files) because it starts with a first element."""
    head = file.read(132)
    file.seek(0)
    return head[128:] == b"DICM" or (head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00")


def is_ct_image(plane: Plane) -> bool:
    """Whether the object says that it is a CT image, or says nothing of its kind at all."""
    return plane.sop_class in CT_CLASSES or (not plane.sop_class and plane.modality in ("CT", ""))


def _transfer_syntax(ds: FileDataset) -> str:
    stated = str(ds.file_meta.get("TransferSyntaxUID", "") or "")
    if stated:
        return stated
    implicit, little = ds.original_encoding
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _pixel_offset(file: BinaryIO, syntax: str, *, implicit: bool) -> int | None:
    """Where the pixels start in the file: None if deflated, `ABSENT` if the file ends before them."""
    if syntax == DEFLATED:
        return None
    start = file.tell()
    head = file.read(12)
    order = ">" if syntax == EXPLICIT_BIG else "<"
    if len(head) < 8 or struct.unpack(order + "HH", head[:4]) != (0x7FE0, 0x0010):
        return ABSENT
    return start + (8 if implicit else 12 if head[4:6] in (b"OW", b"OB", b"UN") else 8)


def _layout(ds: Dataset, syntax: str, offset: int | None) -> PixelLayout | None:
    rows, columns = integer(ds, "Rows"), integer(ds, "Columns")
    if not rows or not columns:
        return None
    allocated = integer(ds, "BitsAllocated") or 16
    stored = integer(ds, "BitsStored") or allocated
    high_bit = integer(ds, "HighBit")
    return PixelLayout(
        transfer_syntax=syntax,
        rows=rows,
        columns=columns,
        frames=max(1, integer(ds, "NumberOfFrames") or 1),
        samples=integer(ds, "SamplesPerPixel") or 1,
        photometric=text(ds, "PhotometricInterpretation") or "MONOCHROME2",
        bits_allocated=allocated,
        bits_stored=min(stored, allocated),
        high_bit=stored - 1 if high_bit is None else high_bit,
        signed=integer(ds, "PixelRepresentation") == 1,
        offset=offset if syntax in UNCOMPRESSED else None,
    )


def _plane(path: Path, ds: FileDataset) -> Plane:
    plane = Plane(
        path,
        modality=text(ds, "Modality").upper(),
        sop_class=text(ds, "SOPClassUID") or text(ds.file_meta, "MediaStorageSOPClassUID"),
        sop_uid=text(ds, "SOPInstanceUID"),
        study_uid=text(ds, "StudyInstanceUID"),
        series_uid=text(ds, "SeriesInstanceUID"),
        series_number=integer(ds, "SeriesNumber"),
        instance_number=integer(ds, "InstanceNumber"),
        description=text(ds, "SeriesDescription"),
        missing=tuple(name for name in EXPECTED if not text(ds, name)),
    )
    fill_geometry(plane, ds)
    fill_contrast(plane, ds)
    return plane


def fill_geometry(plane: Plane, ds: Dataset) -> None:
    """Take whatever a data set (a file's, or a functional group of a frame) says of place and values."""
    take = {
        "position_lps": numbers(ds, "ImagePositionPatient", 3),
        "orientation": numbers(ds, "ImageOrientationPatient", 6),
        "pixel_spacing_mm": numbers(ds, "PixelSpacing", 2),
        "slice_thickness_mm": number(ds, "SliceThickness"),
        "slice_spacing_mm": number(ds, "SpacingBetweenSlices"),
        "tilt_degrees": number(ds, "GantryDetectorTilt"),
        "kernel": text(ds, "ConvolutionKernel") or None,
        "kvp": number(ds, "KVP"),
        "slope": number(ds, "RescaleSlope"),
        "intercept": number(ds, "RescaleIntercept"),
        "rescale_type": text(ds, "RescaleType").upper() or None,
        "padding": _padding(ds),
        "image_type": tuple(text(ds, "ImageType").upper().split("\\")) if text(ds, "ImageType") else None,
    }
    for name, value in take.items():
        if value is not None:
            setattr(plane, name, value)
    plane.lossy = plane.lossy or text(ds, "LossyImageCompression") == "01"
    for name in (
        "AcquisitionNumber",
        "TemporalPositionIdentifier",
        "NominalPercentageOfCardiacPhase",
        "TriggerTime",
        "AcquisitionDateTime",
        "AcquisitionTime",
        "ContentTime",
    ):
        value = number(ds, name)
        if value is not None:
            plane.phase[name] = value


def fill_contrast(plane: Plane, ds: Dataset) -> None:
    """Whether a contrast agent is named; saying nothing is not a no."""
    agent = text(ds, "ContrastBolusAgent").upper()
    if agent:
        plane.contrast_agent = agent not in ("NO", "NONE", "N", "WITHOUT")
    elif ds.get("ContrastBolusAgentSequence"):
        plane.contrast_agent = True


def _padding(ds: Dataset) -> tuple[int, int] | None:
    low = integer(ds, "PixelPaddingValue")
    if low is None:
        return None
    limit = integer(ds, "PixelPaddingRangeLimit")
    high = low if limit is None else limit
    return (low, high) if low <= high else (high, low)
