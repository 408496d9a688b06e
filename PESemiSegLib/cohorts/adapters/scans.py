"""A tree of scans without masks, as a hospital exports them: the unlabelled pool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry, is_image_file, stem
from PESemiSegLib.cohorts.adapters.pairing import holds_dicom, is_mask_file, looks_like_dicom
from PESemiSegLib.cohorts.natural import natural
from PESemiSegLib.errors import InputError


class Scans:
    """Every folder of DICOM slices and every image file is one scan.

    The first folder below the top is the patient, or the file's own name. DICOM folders whose headers carry
    one patient identifier are one patient, whatever the folders are called, unless all carry the same one (a
    dummy). The identifier itself is written nowhere.
    """

    name = "scans"
    title = "scans without masks"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return next(_walk(folder, top=True), None) is not None

    def entries(self, folder: Path) -> Iterator[Entry]:
        images = list(_walk(folder, top=True))
        if not images:
            raise InputError(f"{folder.name} holds no scan: no DICOM slices, NIfTI, NRRD or MetaImage.")
        tops = [_top(image, folder) for image in images]
        marks = [_identifier(image) for image in images]
        dummy = len({mark for mark in marks if mark}) == 1 and len(set(tops)) > 1
        patients = {top: top for top in tops} if dummy else _joined(tops, marks)
        for image, top, mark in zip(images, tops, marks, strict=True):
            note = ("all scans carry one patient identifier; folders were taken for patients",)
            yield Entry(patients[top], image, notes=note if dummy and mark else ())


def _walk(folder: Path, *, top: bool = False) -> Iterator[Path]:
    """Image files, and the topmost folders that directly hold DICOM slices; links are followed at the top."""
    if holds_dicom(folder):
        yield folder
        return
    members = natural([p for p in folder.iterdir() if not p.name.startswith(".")])
    for path in members:
        if path.is_file() and is_image_file(path) and not is_mask_file(path):
            yield path
    for path in members:
        if path.is_dir() and (top or not path.is_symlink()):
            yield from _walk(path)


def _top(image: Path, folder: Path) -> str:
    parts = image.relative_to(folder).parts
    if len(parts) > 1 or image.is_dir():
        return parts[0] if parts else folder.name
    return stem(image).removesuffix("_0000")


def _joined(tops: list[str], marks: list[str]) -> dict[str, str]:
    """Folder -> patient: folders that share an identifier, over any number of steps, are one patient."""
    patient = {top: top for top in tops}
    owner: dict[str, str] = {}
    for top, mark in zip(tops, marks, strict=True):
        old, new = patient[top], patient[owner.setdefault(mark, top)] if mark else patient[top]
        for name, value in patient.items():
            patient[name] = new if value == old else value
    return patient


def _identifier(image: Path) -> str:
    """A hash of the header's PatientID, to compare with others; empty where there is none."""
    if not image.is_dir():
        return ""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    file = next((p for p in sorted(image.iterdir()) if p.is_file() and looks_like_dicom(p)), None)
    try:
        if file is None:
            return ""
        header = dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"])
    except (OSError, InvalidDicomError, ValueError, EOFError):
        return ""
    identifier = str(header.get("PatientID", "") or "").strip()
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""
