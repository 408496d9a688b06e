"""Pairs of scan and mask in plain folders: side by side, one folder a patient, or two folders of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry, child, is_image_file, stem
from PESemiSegLib.cohorts.marked import MaskReader
from PESemiSegLib.cohorts.natural import natural

IMAGE_FOLDERS = ("images", "image", "ct", "cts", "scans", "scan", "volumes")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "segmentations", "segmentation", "seg", "segs", "gt")
_MASK_WORDS = "masks?|seg|segmentations?|labels?|gt|clots?|emboli|embolus|refstd"
_IMAGE_WORDS = "cta?|ctpa|images?|img|scan|volume|0000"
_IS_MASK = re.compile(rf"(^|[-_. ])({_MASK_WORDS})($|[-_. \d])", re.IGNORECASE)
_TAIL = re.compile(rf"(^|[-_. ])({_MASK_WORDS}|{_IMAGE_WORDS}|pe)$", re.IGNORECASE)

MaskTest = Callable[[Path], bool]
"""Whether a file is a mask of the kind that is looked for."""


def is_mask_file(path: Path) -> bool:
    """An image file whose name says that it is a mask: `p7_mask.nii.gz`, `label.nrrd`."""
    return is_image_file(path) and bool(_IS_MASK.search(stem(path)))


def two_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks, where there are such."""
    images, masks = child(folder, *IMAGE_FOLDERS), child(folder, *MASK_FOLDERS)
    return (images, masks) if images and masks else None


def pairs(folder: Path, is_mask: MaskTest, mask_of: Callable[[Path], Path | MaskReader]) -> Iterator[Entry]:
    """The scans of a folder with their masks, in natural order; ambiguity is a problem of the scan.

    Masks that fit no scan are entries of their own, with that as their problem.

    is_mask: which files of a mixed folder are masks (in a folder called masks, all image files are).
    mask_of: what becomes of a mask file.
    """
    both = two_folders(folder)
    if both is not None:
        masks = [p for p in _members(both[1]) if is_mask(p) or is_image_file(p)]
        yield from _matched(_scans(both[0], is_mask), masks, mask_of)
        return
    loose = [p for p in _members(folder) if p.is_file()]
    images = [p for p in loose if is_image_file(p) and not is_mask(p)]
    here = [p for p in loose if is_mask(p)]
    beside = {core(path) for path in here}
    folders = [p for p in _members(folder) if p.is_dir()]
    dicom = [p for p in folders if core(p) in beside]  # p7/ with slices, p7.seg.nrrd beside it
    yield from _matched(images + dicom, here, mask_of)
    for patient in folders:
        if patient not in dicom:
            yield from _one_patient(patient, is_mask, mask_of)


def core(path: Path) -> str:
    """What a scan and its mask share: the name without endings such as _ct, _mask or _0000, in lower case."""
    name = (path.name if path.is_dir() else stem(path)).lower()
    while (shorter := _TAIL.sub("", name)) and shorter != name:
        name = shorter
    return name


def holds_dicom(folder: Path) -> bool:
    """Whether a folder directly holds files that look like DICOM: by suffix, or by the mark at byte 128."""
    return any(looks_like_dicom(p) for p in natural([p for p in folder.iterdir() if p.is_file()])[:5])


def looks_like_dicom(path: Path) -> bool:
    """By its suffix .dcm or .ima, or the DICM mark in a file of no known suffix; a DICOMDIR is no slice."""
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    if is_image_file(path) or path.suffix.lower() in (".csv", ".json", ".txt", ".png", ".xml", ".zip"):
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _matched(
    scans: list[Path], masks: list[Path], mask_of: Callable[[Path], Path | MaskReader]
) -> Iterator[Entry]:
    by_core: dict[str, list[Path]] = {}
    for mask in masks:
        by_core.setdefault(core(mask), []).append(mask)
    names = [core(scan) for scan in scans]
    for scan, name in zip(scans, names, strict=True):
        found = by_core.get(name, [])
        problem = ""
        if names.count(name) > 1:
            problem = f"{names.count(name)} scans are called {name}"
        elif len(found) > 1:
            problem = f"{len(found)} masks: {', '.join(path.name for path in found)}"
        yield Entry(name, scan, mask_of(found[0]) if len(found) == 1 else None, problem=problem)
    for name, found in by_core.items():
        if name not in names:
            yield from _without_scan(found)


def _without_scan(masks: list[Path], patient: str = "") -> Iterator[Entry]:
    """Rows that say so: a mask that a slip in its name would drop makes its patient one without labels."""
    for mask in masks:
        yield Entry(patient or core(mask), mask, problem=f"{mask.name} is a mask without a scan")


def _one_patient(
    folder: Path, is_mask: MaskTest, mask_of: Callable[[Path], Path | MaskReader]
) -> Iterator[Entry]:
    """A folder that holds one scan (a file, a folder of slices, or slices) and perhaps a mask."""
    masks = [p for p in _members(folder) if p.is_file() and is_mask(p)]
    scans = [p for p in _scans(folder, is_mask) if p not in masks]
    if not scans and holds_dicom(folder):
        scans = [folder]
    if not scans:
        yield from _without_scan(masks, folder.name)
        return
    problem = ""
    if len(scans) > 1:
        problem = f"{len(scans)} scans in one folder: {', '.join(path.name for path in scans[:4])}"
    elif len(masks) > 1:
        problem = f"{len(masks)} masks: {', '.join(path.name for path in masks[:4])}"
    yield Entry(folder.name, scans[0], mask_of(masks[0]) if len(masks) == 1 else None, problem=problem)


def _scans(folder: Path, is_mask: MaskTest) -> list[Path]:
    """Image files that are no masks, and sub-folders of DICOM slices."""
    members = _members(folder)
    files = [p for p in members if p.is_file() and is_image_file(p) and not is_mask(p)]
    return files + [p for p in members if p.is_dir() and holds_dicom(p)]


def _members(folder: Path) -> list[Path]:
    return natural([p for p in folder.iterdir() if not p.name.startswith(".")])
