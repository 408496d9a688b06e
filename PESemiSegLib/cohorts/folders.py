"""Manifests from folders: what `pesemiseg phantom` wrote, split by patient."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.splits import split_by_patient
from PESemiSegLib.errors import InputError

_NO_CONTRAST = "without contrast, and in another breath than its mask: no CTPA"
_MASKS = {"": "clot.nii.gz", "exact": "clot_exact.nii.gz", "arteries": "arteries.nii.gz"}


def from_phantom(
    folder: Path | str,
    *,
    validation: float = 0.15,
    test: float = 0.0,
    seed: int = 0,
    role: str = "labelled",
    exact_labels: bool = False,
    kind: str = "emboli",
) -> Manifest:
    """One case per scan that `pesemiseg phantom` wrote, split by patient, PE and PE-free alike, seeded.

    The patient is that of the recipe, whatever the folder is called. Scans without contrast are in no cohort
    of CTPA: they are there with the role `excluded`, for `phase_pairs`.

    validation, test: their shares of the patients; the rest is for training. exact_labels: the exact clots
    rather than what the site's annotator drew. kind: what the masks mark, "emboli" or "arteries" (aorta and
    pulmonary artery, exact).

    Raises InputError for a folder without patients, ConfigError for impossible shares.
    """
    folder = Path(folder)
    recipes = sorted(folder.glob("[!.]*/recipe.json"))  # hidden: what a killed `phantom` was writing
    if not recipes:
        raise InputError(
            f"{folder.name} holds no made-up patients; give the folder that `pesemiseg phantom` wrote."
        )
    style = "arteries" if kind == "arteries" else "exact" if exact_labels else ""
    cases = tuple(_case(path.parent, role, style) for path in recipes)
    return split_by_patient(Manifest(cases, folder.name), validation=validation, test=test, seed=seed)


def phase_pairs(manifest: Manifest) -> list[tuple[Case, Case]]:
    """The two scans of each made-up patient that has both: with contrast, and without.

    What is known of the pair (mask, lesions, split) is that of the first; the second is excluded from cohorts
    of CTPA. The breath differs, so masks have to be brought onto it.
    """
    first: dict[str, Case] = {}
    for case in manifest.select():
        first.setdefault(case.key, case)
    twins = (case for case in manifest.select(role="excluded") if _NO_CONTRAST in case.problems)
    return [(first[twin.key], twin) for twin in twins if twin.key in first]


def _case(folder: Path, role: str, style: str) -> Case:
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
    if not contrast:
        return replace(case, role="excluded", problems=(_NO_CONTRAST,))
    mask = folder / _MASKS[style]
    if role == "labelled" and not mask.exists():
        raise InputError(f"{folder.name} has no {mask.name}; an older version made it: make it again.")
    return replace(
        case,
        mask=mask if role == "labelled" else None,
        label_style="exact" if style else str(facts.get("label_style", "")),
        lesions=None if style == "arteries" else folder / "lesions.nii.gz",
    )
