"""DICOM SEG beside the CT series it refers to, as archives and 3D Slicer export them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from PESemiSegLib.atomic import is_system_litter
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
_FEW = 8  # files of a folder whose headers are read to recognise it


class _Header(NamedTuple):
    """What a DICOM file is, the series that it belongs to, and the one that it refers to."""

    is_seg: bool
    is_ct: bool
    series: str
    refers_to: str


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
        return any(
            (header := _header(path)) is not None and header.is_seg
            for place, _, names in os.walk(folder)
            for path in _standing_out([Path(place, name) for name in sorted(names)])
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
            mask = mask_reader(segs[0]) if len(segs) == 1 else None
            entries.append(Entry(_patient(image, folder), image, mask, problem=problem))
        yield from joined(entries)
        for path, series in found.segs:
            if series not in found.series:
                lost = f"{path.name} is a DICOM SEG without its series"
                yield Entry(_patient(path.parent, folder), path, problem=lost)


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
    damaged: set[Path] = set()
    files = (p for p in folder.rglob("*") if p.is_file() and not is_system_litter(p.name))
    for path in sorted(filter(looks_like_dicom, files)):
        header = _header(path)
        if header is None:
            damaged.add(path.parent)
        elif header.is_seg:
            found.segs.append((path, header.refers_to))
        elif header.is_ct:
            found.series.setdefault(header.series, set()).add(path.parent)
    known = {path.parent for path, _ in found.segs}.union(*found.series.values())
    for place in damaged - known.union(*(path.parents for path in known)):
        found.series[str(place)] = {place}  # nothing there or below can be read: opening it says why
    return found


def _standing_out(files: list[Path]) -> list[Path]:
    """The files of a folder; of many the first and last by name and by size, where a SEG among slices is."""
    if len(files) <= _FEW:
        return files
    end = _FEW // 4
    sized = sorted(files, key=lambda path: path.lstat().st_size)
    return list(dict.fromkeys([*files[:end], *files[-end:], *sized[:end], *sized[-end:]]))


def _patient(place: Path, folder: Path) -> str:
    """The topmost folder that a file or a series lies in."""
    return folder.name if place == folder else place.relative_to(folder).parts[0]


def _header(path: Path) -> _Header | None:
    """None for a file that cannot be read as DICOM."""
    from pydicom import dcmread

    try:
        ds = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        referred = ds.get("ReferencedSeriesSequence") or [{}]
        return _Header(
            is_seg=ds.get("SOPClassUID", "") in _SEG_CLASSES,
            is_ct=ds.get("Modality", "CT") == "CT",
            series=str(ds.get("SeriesInstanceUID", "")),
            refers_to=str(referred[0].get("SeriesInstanceUID", "")),
        )
    except Exception:  # a damaged header makes pydicom raise almost anything
        return None
