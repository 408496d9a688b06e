"""Owns how a manifest tells of two scans of a patient, with contrast and without: the plain one's notes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import InputError

Pair = tuple[Case, Case]
"""The contrast scan, with what is known of the patient, and the plain one."""

NO_CONTRAST = "without contrast, and in another breath than its mask: no CTPA"
"""A note of the plain scan, which is excluded from cohorts of CTPA."""
REGISTERED = "registered: lies on the scan with contrast as it is"
"""A further note of it: whoever reads the manifest registers the pair no more."""


def phase_pairs(manifest: Manifest) -> list[Pair]:
    """The two scans of each patient that has both: with contrast, and without (excluded, with its note).

    What is known of the pair (mask, lesions, split) is that of the first. The breath differs, so masks have
    to be brought onto the second, unless its note says that it is registered.

    Raises InputError where a patient has several scans of a phase.
    """
    first = defaultdict(list)
    for case in manifest.select():
        first[case.key].append(case)
    twins = (case for case in manifest.select(role="excluded") if NO_CONTRAST in case.problems)
    pairs = [(case, twin) for twin in twins for case in first[twin.key]]
    unclear = sum(count > 1 for count in Counter(twin.key for _, twin in pairs).values())
    if unclear:
        raise InputError(
            f"{manifest.source_name}: of {unclear} patient(s) there are several scans with, or several "
            "without contrast medium, so that it is not known which belong together; keep one of each."
        )
    return pairs


def pair_manifest(pairs: Iterable[Pair], name: str = "pairs") -> Manifest:
    """Both scans of each pair as `phase_pairs` finds them again: the plain one is in no cohort of CTPA."""
    cases: list[Case] = []
    for contrast, plain in pairs:
        known = replace(plain, role="excluded", mask=None, lesions=None, split=contrast.split, pe=contrast.pe)
        notes = dict.fromkeys((NO_CONTRAST, *plain.problems))
        cases += [contrast, replace(known, problems=tuple(notes))]
    return Manifest(tuple(cases), name)
