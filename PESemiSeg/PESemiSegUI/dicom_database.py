"""Owns the way from Slicer's DICOM database to a cohort: which CT series it holds, and their files in folders.

A database keeps files wherever they were imported from; the library reads folders. Chosen series are therefore
linked (copied, on another disk) into one folder a patient, under names that tell nothing of the patient.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from . import machine

CT, MASK = "CT", "SEG"


@dataclass(frozen=True)
class Series:
    """One CT series. `label` names the patient and is for the screen alone."""

    uid: str
    patient: str  # pseudonym: the same for all series of a patient, on this computer
    label: str
    masks: tuple[str, ...] = ()  # UIDs of the study's DICOM SEG series


def whyNot() -> str:
    """Why there is no database to choose from; empty where there is one."""
    database = getattr(slicer, "dicomDatabase", None)  # set by Slicer's DICOM module
    if database is None or not database.isOpen:
        return _("Slicer's DICOM database is not open: visit the DICOM module once")
    return ""


def ctSeries() -> "Iterator[Series | None]":
    """The CT series of the database, patient by patient; None where a study was looked at in vain.

    One step takes a few queries: the user interface can take a turn after each.
    """
    database = slicer.dicomDatabase
    for patient in database.patients():
        name = database.nameForPatient(patient)
        mark = machine.pseudonym(f"{database.fieldForPatient('PatientID', patient)}|{name}")
        for study in database.studiesForPatient(patient):
            series = [
                (uid, database.fieldForSeries("Modality", uid)) for uid in database.seriesForStudy(study)
            ]
            masks = tuple(uid for uid, modality in series if modality == MASK)
            yield None
            for uid in (uid for uid, modality in series if modality == CT):
                parts = (name, database.descriptionForStudy(study), database.descriptionForSeries(uid))
                count = _("{n} images").format(n=len(database.instancesForSeries(uid)))
                yield Series(uid, mark, ", ".join(part for part in (*parts, count) if part), masks)


def filesOf(chosen: Iterable[Series]) -> "Iterator[tuple[Path, tuple[str, ...]]]":
    """Series by series where its files shall lie, relative to a cohort's folder, and the files."""
    database, told = slicer.dicomDatabase, set()
    for number, series in enumerate(chosen, start=1):
        yield Path(series.patient, f"{number:04d}"), tuple(database.filesForSeries(series.uid))
        for uid in series.masks:
            if uid not in told:
                told.add(uid)
                yield Path(series.patient, f"mask_{len(told):04d}"), tuple(database.filesForSeries(uid))


def gather(files: "Iterable[tuple[Path, tuple[str, ...]]]", folder: Path) -> Path:
    """Link or copy the files into the folder; for a thread. Raises OSError."""
    for place, sources in files:
        target = folder / place
        target.mkdir(parents=True, exist_ok=True)
        for number, source in enumerate(sources):
            _link(source, target / f"{number:05d}.dcm")
    return folder


def _link(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, target)
