"""Manifests from folders: what `pesemiseg phantom` wrote, split by patient."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.phases import NO_CONTRAST
from PESemiSegLib.cohorts.splits import split_by_patient
from PESemiSegLib.errors import InputError

_OTHER_PHASE = "the scan of this patient without contrast is taken"


def from_phantom(
    folder: Path | str,
    *,
    validation: float = 0.15,
    test: float = 0.0,
    seed: int = 0,
    role: str = "labelled",
    exact_labels: bool = False,
    marks: str = "emboli",
) -> Manifest:
    """One case per scan that `pesemiseg phantom` wrote, split by patient, PE and PE-free alike, seeded.

    The patient is that of the recipe, whatever the folder is called. Scans without contrast are in no cohort
    of CTPA: they are there with the role `excluded`, for `phase_pairs`. Of opacities it is the other way
    round: where a patient has a scan without contrast, that one is taken.

    validation, test: their shares of the patients; the rest is for training. exact_labels: the exact clots
    rather than what the site's annotator drew. marks: what the masks mark, see `Case`; but for emboli they
    are exact, and the file is called so.

    Raises InputError for a folder without patients, ConfigError for impossible shares.
    """
    folder = Path(folder)
    recipes = sorted(folder.glob("[!.]*/recipe.json"))  # hidden: what a killed `phantom` was writing
    if not recipes:
        raise InputError(
            f"{folder.name} holds no made-up patients; give the folder that `pesemiseg phantom` wrote."
        )
    scans = [_scan(path.parent) for path in recipes]
    plain = {scan.patient for scan in scans if not scan.contrast}
    drawn = marks if marks != "emboli" else "clot_exact" if exact_labels else "clot"
    cases = []
    for scan in scans:
        if why := _left_out(scan, marks, plain):
            cases.append(replace(scan.case(), role="excluded", problems=(why,)))
        else:
            cases.append(_with_mask(scan, role, marks, f"{drawn}.nii.gz"))
    manifest = Manifest(tuple(cases), folder.name)
    return split_by_patient(manifest, validation=validation, test=test, seed=seed)


class _Scan(NamedTuple):
    """What recipe and facts say of one scan."""

    folder: Path
    patient: str
    site: str
    contrast: bool
    pe: bool
    label_style: str

    def case(self) -> Case:
        """The scan alone."""
        file = self.folder / "ct.nii.gz"
        image = next((path for path in (file, self.folder / "ct") if path.exists()), file)
        return Case(self.patient, self.site, image, pe="yes" if self.pe else "no")


def _scan(folder: Path) -> _Scan:
    try:
        recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        site = str(recipe["site"])
        patient = f"{site}-s{recipe['seed']}-p{int(recipe['patient']):04d}"
        contrast, style = bool(recipe.get("contrast", True)), str(facts.get("label_style", ""))
        return _Scan(folder, patient, site, contrast, bool(list(facts["lesions"])), style)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder.name} is not a complete made-up patient; make it again.") from error


def _left_out(scan: _Scan, marks: str, plain: set[str]) -> str:
    """Why this scan of its patient is not taken. plain: the patients that have one without contrast."""
    if marks == "opacities":  # the maps of both show the same lesions
        return _OTHER_PHASE if scan.contrast and scan.patient in plain else ""
    return "" if scan.contrast else NO_CONTRAST


def _with_mask(scan: _Scan, role: str, marks: str, drawn: str) -> Case:
    """The case of a scan that is taken. drawn: the file of its mask."""
    mask = scan.folder / drawn
    if role == "labelled" and not mask.exists():
        why = "without --opacities" if marks == "opacities" else "by an older version"
        raise InputError(f"{scan.folder.name} has no {drawn}: it was made {why}; make it again.")
    return replace(
        scan.case(),
        role=role,
        mask=mask if role == "labelled" else None,
        label_style=scan.label_style if drawn == "clot.nii.gz" else "exact",
        lesions=scan.folder / "lesions.nii.gz" if marks == "emboli" else None,
        marks=marks,
    )
