"""Owns DICOM SEG: a binary segmentation that references the CT instances it was made from.

The file goes back to the archive the CT came from, so it carries the patient and study attributes of the
source, as DICOM requires: it is the one result that is not free of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from PESemiSegLib import __version__
from PESemiSegLib.errors import OutputError
from PESemiSegLib.volumes.segments import EMBOLUS, Code, SegmentInfo
from PESemiSegLib.volumes.write import writing

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

    from PESemiSegLib.volumes.volume import Volume

_log = logging.getLogger(__name__)

SERIES_NUMBER = 9100
_NEEDED_UIDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "FrameOfReferenceUID",
)
_NEEDED_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
# Type 2 in the SEG: must be there, may be empty, and are often left out of files passed from hand to hand.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


class Outcome(NamedTuple):
    """Whether the file was written, and a sentence for the reader where there is something to say."""

    written: bool
    note: str = ""


def write_dicom_seg(
    path: Path, mask: np.ndarray, volume: Volume, segments: Sequence[SegmentInfo] = (EMBOLUS,)
) -> Outcome:
    """Write `mask` (uint8, (z, y, x) on the volume's working grid) as a BINARY DICOM SEG.

    The value n stands for segments[n - 1]. Every source slice is referenced. Frames without a mark are left
    out; where nothing at all is marked, all frames are kept empty, because a SEG without frames is not valid
    and "nothing found" is a result.

    Where the input cannot carry a SEG (not DICOM, or without the UIDs that a reference needs) nothing is
    written and the outcome's note says why. Raises OutputError when the disk refuses.
    """
    if not volume.facts.source_files:
        several = "the frames lie in several files, to which one SEG cannot refer"
        reason = several if volume.facts.kind == "dicom" else "the input is not a DICOM series"
        return Outcome(False, f"No DICOM SEG was written: {reason}.")
    sources = [_header(file) for file in volume.facts.source_files]
    missing = _missing(sources)
    if missing:
        lacks = ", ".join(missing)
        return Outcome(False, f"No DICOM SEG was written: the source lacks {lacks} to refer to.")
    if len({source.SOPInstanceUID for source in sources}) < len(sources):
        return Outcome(False, "No DICOM SEG was written: several slices share one SOPInstanceUID.")
    note = _unify_frame_of_reference(sources)
    frames = _frames(volume.to_source(mask), sources, volume.facts.source_frames)
    try:
        seg = _segmentation(frames, sources, segments)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _log.debug("highdicom refused the source headers", exc_info=True)
        reason = f"the source headers break DICOM rules ({type(error).__name__})"
        return Outcome(False, f"No DICOM SEG was written: {reason}.")
    with writing(path) as handle:
        seg.save_as(handle, enforce_file_format=True)
    return Outcome(True, note)


def _header(path: Path) -> Dataset:
    """A source file without its pixels, completed with the empty attributes that a SEG must copy."""
    from pydicom import dcmread

    try:
        header = dcmread(path, stop_before_pixels=True, force=True)
    except OSError as error:
        raise OutputError(f"cannot reference {path.name} in the DICOM SEG: {error.strerror}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote the patient's values
        for keyword in _MAY_BE_EMPTY:
            setattr(header, keyword, _copied(header, keyword))
    # What is copied is text by now, and highdicom knows neither code extensions nor several character sets.
    header.SpecificCharacterSet = "ISO_IR 192"
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = None
    return header


def _copied(header: Dataset, keyword: str) -> Any:
    """A value that the SEG copies, decoded; None where it is missing, or no date or time though it should."""
    from pydicom.valuerep import DA, TM, PersonName

    value = header.get(keyword)
    if not value:
        return None
    try:
        if keyword.endswith("Date"):
            DA(str(value))
        elif keyword.endswith("Time"):
            TM(str(value))
    except (ValueError, OverflowError):
        return None
    return str(value) if isinstance(value, PersonName) else value


def _missing(sources: list[Dataset]) -> list[str]:
    """Names of the attributes without which no SEG can refer to these sources."""
    needed = _NEEDED_UIDS if "NumberOfFrames" in sources[0] else _NEEDED_UIDS + _NEEDED_GEOMETRY
    return [name for name in needed if any(not source.get(name) for source in sources)]


def _unify_frame_of_reference(sources: list[Dataset]) -> str:
    """Give all headers the first one's frame of reference; returns a note where they differed.

    Some de-identified archives (LIDC-IDRI) gave every slice its own; the slices were read as one grid.
    """
    first = sources[0].FrameOfReferenceUID
    if all(source.FrameOfReferenceUID == first for source in sources):
        return ""
    for source in sources:
        source.FrameOfReferenceUID = first
    return "The slices state different frames of reference; the DICOM SEG uses that of the first slice."


def _frames(planes: np.ndarray, sources: list[Dataset], source_frames: tuple[int, ...]) -> np.ndarray:
    """Source planes as highdicom wants them: one per file, or one per frame of a multi-frame file."""
    if not source_frames:
        return planes
    frames = np.zeros((int(sources[0].NumberOfFrames), *planes.shape[1:]), dtype=planes.dtype)
    frames[np.asarray(source_frames) - 1] = planes
    return frames


def _segmentation(
    frames: np.ndarray, sources: list[Dataset], segments: Sequence[SegmentInfo]
) -> Segmentation:
    import highdicom as hd

    names = ", ".join(segment.name for segment in segments)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values of the source that are not ours to correct
        return hd.seg.Segmentation(
            source_images=sources,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(n, segment) for n, segment in enumerate(segments, 1)],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="PESemiSeg",
            manufacturer_model_name="PESemiSeg",
            software_versions=__version__,
            device_serial_number="none",
            series_description=f"{names}, research use only",
            content_description="Automatic, not reviewed, research use only",
            content_label="PE" if tuple(segments) == (EMBOLUS,) else "SEGMENTATION",
            omit_empty_frames=bool(frames.any()),
        )


def _description(number: int, segment: SegmentInfo) -> SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=_coded(segment.category),
        segmented_property_type=_coded(segment.type),
        anatomic_regions=[_coded(segment.region)] if segment.region else None,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="PESemiSeg", version=__version__, family=codes.cid7162.ArtificialIntelligence
        ),
        tracking_uid=hd.UID(),
        tracking_id=segment.name,
        display_color=hd.color.CIELabColor.from_rgb(*segment.colour_rgb),
    )


def _coded(code: Code) -> CodedConcept:
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
