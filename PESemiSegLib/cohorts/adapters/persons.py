"""Which DICOM scans are one person's: those whose headers carry one patient identifier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import looks_like_dicom

_DUMMY = "all scans carry one patient identifier; folders were taken for patients"


def joined(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, in their order; patients whose DICOM scans share an identifier get the first one's name.

    Over any number of steps, and with their image files. Where all of several patients carry the same
    identifier it is a dummy: they stay apart, with a note. The identifier itself is written nowhere.
    """
    entries = list(entries)
    marks = {image: _identifier(image) for image in dict.fromkeys(entry.image for entry in entries)}
    marked = [entry for entry in entries if marks[entry.image]]
    identifiers = {marks[entry.image] for entry in marked}
    dummy = len(identifiers) == 1 and len({entry.patient for entry in marked}) > 1
    patients = {_key(entry): _key(entry) for entry in entries}
    owner: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in [] if dummy else marked:
        first = owner.setdefault((entry.site, marks[entry.image]), _key(entry))
        old, new = patients[_key(entry)], patients[first]
        if old != new:
            patients |= {key: new for key, patient in patients.items() if patient == old}
    for entry in entries:
        notes = (*entry.notes, _DUMMY) if dummy and marks[entry.image] else entry.notes
        yield replace(entry, patient=patients[_key(entry)][1], notes=notes)


def _key(entry: Entry) -> tuple[str, str]:
    """Sites number their patients each for itself."""
    return entry.site, entry.patient


def _identifier(image: Path) -> str:
    """A hash of the header's PatientID, to compare with others; empty where there is none."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        files = sorted(image.iterdir()) if image.is_dir() else [image]
        file = next((p for p in files if p.is_file() and looks_like_dicom(p)), None)
        if file is None:
            return ""
        header = dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"])
    except (OSError, InvalidDicomError, ValueError, EOFError):
        return ""
    identifier = str(header.get("PatientID", "") or "").strip()
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""
