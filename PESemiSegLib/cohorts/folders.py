"""Manifests from folders: what `pesemiseg phantom` wrote, split by patient."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.splits import split_by_patient
from PESemiSegLib.errors import InputError

NO_CONTRAST = "without contrast, and in another breath than its mask: no CTPA"
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
    name = marks if marks != "emboli" else "clot_exact" if exact_labels else "clot"
    cases = tuple(_case(path.parent, role, marks, f"{name}.nii.gz") for path in recipes)
    if marks == "opacities":
        cases = _without_contrast_first(cases)
    return split_by_patient(Manifest(cases, folder.name), validation=validation, test=test, seed=seed)


def phase_pairs(manifest: Manifest) -> list[tuple[Case, Case]]:
    """The two scans of each made-up patient that has both: with contrast, and without.

    What is known of the pair (mask, lesions, split) is that of the first; the second is excluded from cohorts
    of CTPA. The breath differs, so masks have to be brought onto it.

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


def _case(folder: Path, role: str, marks: str, drawn: str) -> Case:
    try:
        recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        site, lesions = str(recipe["site"]), list(facts["lesions"])
        patient = f"{site}-s{recipe['seed']}-p{int(recipe['patient']):04d}"
        contrast = bool(recipe.get("contrast", True))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder.name} is not a complete made-up patient; make it again.") from error
    image = next((p for p in (folder / "ct.nii.gz", folder / "ct") if p.exists()), folder / "ct.nii.gz")
    case = Case(patient, site, image, role=role, pe="yes" if lesions else "no")
    if not contrast and marks != "opacities":
        return replace(case, role="excluded", problems=(NO_CONTRAST,))
    mask = folder / drawn
    if role == "labelled" and not mask.exists():
        why = "without --opacities" if marks == "opacities" else "by an older version"
        raise InputError(f"{folder.name} has no {mask.name}: it was made {why}; make it again.")
    return replace(
        case,
        mask=mask if role == "labelled" else None,
        label_style=str(facts.get("label_style", "")) if drawn == "clot.nii.gz" else "exact",
        lesions=folder / "lesions.nii.gz" if marks == "emboli" else None,
        marks=marks,
    )


def _without_contrast_first(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Of patients with two scans, the one with contrast is left out: their maps show the same lesions."""
    plain = {case.key for case in cases if _is_plain(case)}
    return tuple(
        replace(case, role="excluded", mask=None, problems=(_OTHER_PHASE,))
        if case.key in plain and not _is_plain(case)
        else case
        for case in cases
    )


def _is_plain(case: Case) -> bool:
    recipe = json.loads((case.image.parent / "recipe.json").read_text(encoding="utf-8"))
    return not recipe.get("contrast", True)
