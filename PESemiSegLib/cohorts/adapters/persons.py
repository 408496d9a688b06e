"""Which DICOM scans are one person's: those whose headers carry one patient identifier."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from PESemiSegLib.atomic import is_system_litter
from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import looks_like_dicom

_DUMMY = "all scans carry one patient identifier; folders were taken for patients"
_MOST = 10  # files of a scan whose headers are looked at, where the first ones are damaged or none

Patient = tuple[str, str]
"""Site and patient: sites number their patients each for itself."""


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
    used = [] if dummy else marked
    patients = same_persons((_key(entry), (entry.site, marks[entry.image])) for entry in used)
    for entry in entries:
        notes = (*entry.notes, _DUMMY) if dummy and marks[entry.image] else entry.notes
        yield replace(entry, patient=patients.get(_key(entry), _key(entry))[1], notes=notes)


def same_persons(marked: Iterable[tuple[Patient, Hashable]]) -> dict[Patient, Patient]:
    """For each patient with marks the one who stands for all that share a mark, over any number of steps."""
    firsts: dict[Patient, Patient] = {}
    owner: dict[Hashable, Patient] = {}
    for patient, mark in marked:
        firsts.setdefault(patient, patient)
        old, new = firsts[patient], firsts[owner.setdefault(mark, patient)]
        if old != new:
            firsts |= {key: new for key, first in firsts.items() if first == old}
    return firsts


def _key(entry: Entry) -> Patient:
    return entry.site, entry.patient


def _identifier(image: Path) -> str:
    """A hash of the first PatientID in the headers, to compare with others; empty where there is none."""
    try:
        files = sorted(image.iterdir()) if image.is_dir() else [image]
        named = [p for p in files if not is_system_litter(p.name)]
        slices = (p for p in named if p.is_file() and looks_like_dicom(p))
        identifier = next(filter(None, map(_patient_id, islice(slices, _MOST))), "")
    except OSError:
        return ""
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""


def _patient_id(file: Path) -> str:
    """Of one file; empty where its header has none, or cannot be read."""
    from pydicom import config, dcmread

    try:
        with config.disable_value_validation():
            header = dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"])
            return str(header.get("PatientID", "") or "").strip()
    except Exception:  # a damaged header makes pydicom raise almost anything
        return ""
