"""Pairs of scan and mask in plain folders: side by side, one folder a patient, or two folders of files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
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

    Scans may lie at any depth. Masks that fit no scan are entries of their own, with that as their problem.

    is_mask: which files of a mixed folder are masks (in a folder called masks, all image files are).
    mask_of: what becomes of a mask file.
    """
    both = two_folders(folder)
    if both is not None:
        masks = natural(p for p in files_below(both[1]) if is_mask(p) or is_image_file(p))
        yield from _matched(_named(both[0], _scans(both[0])), _named(both[1], masks), mask_of)
        for name, mask in _named(both[0], filter(is_mask, files_below(both[0]))):
            yield from _without_scan([mask], name)
        return
    loose = [p for p in _members(folder) if p.is_file()]
    images = [p for p in loose if is_image_file(p) and not is_mask(p)]
    here = [p for p in loose if is_mask(p)]
    beside = {core(path) for path in here}
    folders = [p for p in _members(folder) if p.is_dir()]
    dicom = [p for p in folders if core(p) in beside]  # p7/ with slices, p7.seg.nrrd beside it
    yield from _matched(_named(folder, images + dicom), _named(folder, here), mask_of)
    if holds_dicom(folder):
        yield Entry(core(folder), folder, problem="loose slices at the top; put them into a patient's folder")
    for patient in folders:
        if patient not in dicom:
            yield from _one_patient(patient, is_mask, mask_of, patient.name)


def core(path: Path) -> str:
    """What a scan and its mask share: the name without endings such as _ct, _mask or _0000, in lower case."""
    name = (path.name if path.is_dir() else stem(path)).lower()
    while (shorter := _TAIL.sub("", name)) and shorter != name:
        name = shorter
    return name


def walk(folder: Path, *, top: bool = False) -> Iterator[Path]:
    """Image files, and the topmost folders that directly hold DICOM slices; links are followed at the top."""
    if holds_dicom(folder):
        yield folder
        return
    members = _members(folder)
    yield from (p for p in members if p.is_file() and is_image_file(p) and not is_mask_file(p))
    for path in members:
        if path.is_dir() and (top or not path.is_symlink()):
            yield from walk(path)


def files_below(folder: Path) -> Iterator[Path]:
    """All files of a tree, by names alone, hidden ones left out; links to folders are followed at the top."""
    for top in (folder, *(p for p in _members(folder) if p.is_symlink() and p.is_dir())):
        for place, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def has_mask(folder: Path, is_mask: MaskTest) -> bool:
    """Whether there is a mask at any depth."""
    return any(is_mask(path) for path in files_below(folder))


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


def _named(folder: Path, paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Each path with the name by which it is matched: of the file, or of the topmost folder that it is in."""
    return [(core(folder.joinpath(*path.relative_to(folder).parts[:1])), path) for path in paths]


def _matched(
    scans: list[tuple[str, Path]],
    masks: list[tuple[str, Path]],
    mask_of: Callable[[Path], Path | MaskReader],
) -> Iterator[Entry]:
    by_core: dict[str, list[Path]] = {}
    for name, mask in masks:
        by_core.setdefault(name, []).append(mask)
    names = [name for name, _ in scans]
    for name, scan in scans:
        found = by_core.get(name, [])
        problem = ""
        if names.count(name) > 1:
            problem = f"{names.count(name)} scans are called {name}"
        elif len(found) > 1:
            problem = f"{len(found)} masks: {', '.join(path.name for path in found)}"
        yield Entry(name, scan, mask_of(found[0]) if len(found) == 1 else None, problem=problem)
    for name, found in by_core.items():
        if name not in names:
            yield from _without_scan(found, name)


def _without_scan(masks: list[Path], patient: str) -> Iterator[Entry]:
    """Rows that say so: a mask that a slip in its name would drop makes its patient one without labels."""
    for mask in masks:
        yield Entry(patient, mask, problem=f"{mask.name} is a mask without a scan")


def _one_patient(
    folder: Path, is_mask: MaskTest, mask_of: Callable[[Path], Path | MaskReader], patient: str
) -> Iterator[Entry]:
    """A folder of a patient, or one within it: every scan, with the mask that lies beside it if there is one.

    A scan is a file, a sub-folder of slices, or the slices of the folder itself.
    """
    members = _members(folder)
    files, folders = [p for p in members if p.is_file()], [p for p in members if p.is_dir()]
    masks = [p for p in files if is_mask(p)]
    images = [p for p in files if is_image_file(p) and not is_mask(p)]
    # slices with a mask among them are a pair of their own; links are not followed: they may lead in circles
    deeper = [p for p in folders if not p.is_symlink() and (not holds_dicom(p) or has_mask(p, is_mask))]
    scans = images + [p for p in folders if p not in deeper and holds_dicom(p)]
    if not scans and holds_dicom(folder):
        scans = [folder]
    below = [entry for p in deeper for entry in _one_patient(p, is_mask, mask_of, patient)]
    if masks and not scans and len(below) == 1 and not (below[0].mask or below[0].problem):
        scans = [below.pop().image]  # a mask above the only scan that it could mean
    if not scans:
        yield from _without_scan(masks, patient)
    problem = ""
    if len(scans) > 1 and (masks or images):  # several series are scans; one of several files may be anything
        problem = f"{len(scans)} scans in one folder: {', '.join(path.name for path in scans[:4])}"
    elif len(masks) > 1:
        problem = f"{len(masks)} masks: {', '.join(path.name for path in masks[:4])}"
    for scan in scans:
        yield Entry(patient, scan, mask_of(masks[0]) if masks and not problem else None, problem=problem)
    for entry in below:
        if scans and entry.image.is_file() and not (entry.mask or entry.problem):
            entry = replace(entry, problem="an image without a mask below a scan: it may be made from it")
        yield entry


def _scans(folder: Path) -> list[Path]:
    """Image files that are no masks, and the scans of sub-folders."""
    members = _members(folder)
    files = [p for p in members if p.is_file() and is_image_file(p) and not is_mask_file(p)]
    return files + [scan for p in members if p.is_dir() for scan in walk(p)]


def _members(folder: Path) -> list[Path]:
    return natural([p for p in folder.iterdir() if not p.name.startswith(".")])
