"""Owns copies of a scan: the patients whom they show to be one, and the rows that are left out for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from PESemiSegLib.cohorts.adapters.persons import Patient, same_persons
from PESemiSegLib.cohorts.manifest import Case

EMPTY = "every voxel has the same value"
"""A note of a scan without content, which is like any other such scan, whosever they are."""


def one_patient(cases: Iterable[Case]) -> list[Case]:
    """The cases; patients of a site who have a scan in common become one, with a note in the rows renamed.

    Before copies are left out and splits are drawn: only the copy tells that further scans are of one person.
    """
    cases = list(cases)
    patients = same_persons((patient, (patient[0], mark)) for patient, mark in _telling(cases))
    rows = {(case.site, case.patient): row for row, case in reversed(list(enumerate(cases, start=2)))}
    result = []
    for case in cases:
        first = patients.get((case.site, case.patient), (case.site, case.patient))
        if first[1] != case.patient:
            note = f"taken for the patient of row {rows[first]}, who has a scan in common"
            case = replace(case, patient=first[1], problems=(*case.problems, note))
        result.append(case)
    return result


def without_copies(cases: Iterable[Case], roles: tuple[str, ...] = ("labelled", "unlabelled")) -> list[Case]:
    """The cases with every further copy of a scan excluded; a labelled one is kept before an unlabelled.

    Within each split; only cases of these roles are looked at.
    """
    cases = list(cases)
    kept: dict[tuple[str, str], int] = {}
    result = list(cases)
    for index in sorted(range(len(cases)), key=lambda i: (cases[i].role != "labelled", i)):
        case = cases[index]
        if case.role not in roles:
            continue
        for mark in _marks(case):
            first = kept.setdefault((case.split, mark), index)
            if first != index:
                original = f"a copy of the scan of row {first + 2}"
                result[index] = replace(case, role="excluded", problems=(*case.problems, original))
                break
    return result


def at_other_sites(known: Iterable[Case], found: Iterable[Case]) -> bool:
    """Whether a scan of the second cases is among the first ones under another site."""
    sites = {mark: site for (site, _), mark in _telling(known)}
    return any(sites.get(mark, site) != site for (site, _), mark in _telling(found))


def _telling(cases: Iterable[Case]) -> Iterator[tuple[Patient, str]]:
    """Patients and marks of the scans in use that show anything."""
    for case in cases:
        if case.role != "excluded" and EMPTY not in case.problems:
            yield from (((case.site, case.patient), mark) for mark in _marks(case))


def _marks(case: Case) -> Iterator[str]:
    """What a scan shares with its copies: its place on the disk, and the fingerprint of its voxels."""
    return filter(None, (os.path.normpath(case.image), case.fingerprint))
