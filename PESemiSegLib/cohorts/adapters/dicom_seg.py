"""DICOM SEG beside the CT series it refers to, as archives and 3D Slicer export them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import looks_like_dicom
from PESemiSegLib.cohorts.adapters.persons import joined
from PESemiSegLib.cohorts.labelmap import resampled
from PESemiSegLib.cohorts.marked import Marked, MaskReader
from PESemiSegLib.cohorts.segment_choice import Segment, emboli
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_HALF = 0.5  # of a fractional SEG, probability or occupancy alike
_FRACTIONAL = "the DICOM SEG is fractional: voxels of at least one half were taken for marked"
_TAGS = ("SOPClassUID", "SeriesInstanceUID", "ReferencedSeriesSequence", "Modality")


@dataclass
class _Found:
    """CT series (UID -> folders of its files), SEG files with the series they refer to."""

    series: dict[str, set[Path]] = field(default_factory=dict)
    segs: list[tuple[Path, str]] = field(default_factory=list)


class DicomSeg:
    """A tree of DICOM files, one folder a patient at its top: each CT series lies in a folder of its own.

    The embolus is found by its code. Series that no SEG refers to become unlabelled.
    """

    name = "dicom_seg"
    title = "DICOM with DICOM SEG"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        # a SEG is a single file: small folders are looked into, those full of slices are not
        small = (p for p in folder.rglob("*") if p.is_dir() and sum(1 for _ in p.iterdir()) <= 8)
        return any(
            _header(path).get("SOPClassUID", "") in _SEG_CLASSES
            for place in [folder, *small]
            for path in sorted(place.iterdir())[:8]
            if path.is_file() and looks_like_dicom(path)
        )

    def entries(self, folder: Path) -> Iterator[Entry]:
        found = _scan(folder)
        if not found.segs:
            raise InputError(f"{folder.name} holds no DICOM SEG.")
        crowded = {path for paths in found.series.values() for path in paths}
        count = {path: sum(path in paths for paths in found.series.values()) for path in crowded}
        entries = []
        for uid, paths in sorted(found.series.items(), key=lambda item: sorted(item[1])):
            image = sorted(paths)[0]
            segs = [path for path, series in found.segs if series == uid]
            problem = ""
            if len(paths) > 1:
                problem = "the slices of the series lie in several folders"
            elif count[image] > 1:
                problem = f"{count[image]} CT series in one folder; put each in its own"
            elif len(segs) > 1:
                problem = f"{len(segs)} DICOM SEG refer to this series; keep one"
            patient = image.relative_to(folder).parts[0] if image != folder else folder.name
            mask = mask_reader(segs[0]) if len(segs) == 1 else None
            entries.append(Entry(patient, image, mask, problem=problem))
        yield from joined(entries)


def mask_reader(path: Path) -> MaskReader:
    """Reads the emboli of a DICOM SEG onto the grid of the scan it refers to."""

    def read(scan: Volume) -> Marked:
        import highdicom as hd

        try:
            seg = hd.seg.segread(path)
            chosen = emboli(_segments(seg), path.name)
            numbers = [segment.number for segment in chosen]
            mask = _by_source(seg, numbers, scan)
            fractional = seg.segmentation_type is hd.seg.SegmentationTypeValues.FRACTIONAL
            note = _FRACTIONAL if fractional else ""
            return Marked(_by_place(seg, numbers, scan) if mask is None else mask, note)
        except InputError:
            raise
        except Exception as error:  # highdicom raises whatever a file's contradictions lead to
            kind = type(error).__name__
            raise InputError(f"{path.name} cannot be used as a DICOM SEG of this scan ({kind})") from error

    return read


def _segments(seg: Segmentation) -> list[Segment]:
    found = []
    for number in seg.segment_numbers:
        description = seg.get_segment_description(number)
        code = description.segmented_property_type
        found.append(Segment(number, description.segment_label, (code.scheme_designator, code.value)))
    return found


def _by_source(seg: Segmentation, numbers: Sequence[int], scan: Volume) -> np.ndarray | None:
    """Frame by frame as the SEG refers to the scan's files; None where it does not, or not to all."""
    from pydicom import dcmread

    files = scan.facts.source_files
    if not files or scan.facts.source_frames:
        return None
    uids = [str(dcmread(file, specific_tags=["SOPInstanceUID"], force=True).SOPInstanceUID) for file in files]
    known = {str(uid) for _, _, uid in seg.get_source_image_uids()}
    if not known & set(uids):
        raise InputError("the DICOM SEG refers to another series than the one that was read")
    try:
        planes = seg.get_pixels_by_source_instance(
            uids, segment_numbers=list(numbers), assert_missing_frames_are_empty=True
        )
    except (RuntimeError, ValueError, KeyError):
        return None  # frames that derive from several images, or were resampled
    return scan.from_source((np.asarray(planes).max(axis=-1) >= _HALF).astype(np.uint8))


def _by_place(seg: Segmentation, numbers: Sequence[int], scan: Volume) -> np.ndarray:
    """By the positions that the frames state."""
    volume = seg.get_volume(segment_numbers=list(numbers), allow_missing_positions=True)
    marked = np.asarray(volume.array)
    if marked.ndim == 4:
        marked = np.asarray(marked.max(axis=-1))
    swap = np.eye(4)[[2, 1, 0, 3]]  # highdicom indexes (slice, row, column), an affine here the other way
    stored = (marked >= _HALF).astype(np.uint8)
    mask = resampled(stored, np.asarray(volume.affine) @ swap, scan)
    if stored.any() and not mask.any():
        raise InputError("the DICOM SEG marks nothing within the scan; it belongs to another one")
    return mask


def _scan(folder: Path) -> _Found:
    found = _Found()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and looks_like_dicom(p)):
        header = _header(path)
        if header.get("SOPClassUID", "") in _SEG_CLASSES:
            refers = header.get("ReferencedSeriesSequence") or [{}]
            found.segs.append((path, str(refers[0].get("SeriesInstanceUID", ""))))
        elif header.get("Modality", "CT") == "CT":
            found.series.setdefault(str(header.get("SeriesInstanceUID", "")), set()).add(path.parent)
    return found


def _header(path: Path):  # type: ignore[no-untyped-def]
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except (OSError, InvalidDicomError, ValueError, EOFError):
        return {}
