"""Manifests from folders: what `pesemiseg phantom` wrote, split by patient."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.splits import draw_splits
from PESemiSegLib.errors import InputError

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
    """One case per patient folder of `pesemiseg phantom`, split by patient, PE and PE-free alike, seeded.

    validation, test: their shares of the patients; the rest is for training. exact_labels: the exact clots
    rather than what the site's annotator drew. kind: what the masks mark, "emboli" or "arteries" (aorta and
    pulmonary artery, exact).

    Raises InputError for a folder without patients, ConfigError for impossible shares.
    """
    folder = Path(folder)
    recipes = sorted(folder.glob("*/recipe.json"))
    if not recipes:
        raise InputError(
            f"{folder.name} holds no made-up patients; give the folder that `pesemiseg phantom` wrote."
        )
    style = "arteries" if kind == "arteries" else "exact" if exact_labels else ""
    cases: list[Case] = []
    with_emboli: list[bool] = []
    for path in recipes:
        case, positive = _case(path.parent, role, style)
        cases.append(case)
        with_emboli.append(positive)
    splits = draw_splits(with_emboli, validation, test, np.random.default_rng(seed))
    return Manifest(
        tuple(replace(case, split=split) for case, split in zip(cases, splits, strict=True)), folder.name
    )


def _case(folder: Path, role: str, style: str) -> tuple[Case, bool]:
    try:
        recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        site, lesions = str(recipe["site"]), list(facts["lesions"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder.name} is not a complete made-up patient; make it again.") from error
    image = next((p for p in (folder / "ct.nii.gz", folder / "ct") if p.exists()), folder / "ct.nii.gz")
    mask = folder / _MASKS[style]
    if role == "labelled" and not mask.exists():
        raise InputError(f"{folder.name} has no {mask.name}; an older version made it: make it again.")
    case = Case(
        patient=folder.name,
        site=site,
        image=image,
        mask=mask if role == "labelled" else None,
        role=role,
        label_style="exact" if style else str(facts.get("label_style", "")),
        lesions=None if style == "arteries" else folder / "lesions.nii.gz",
        pe="yes" if lesions else "no",
    )
    return case, bool(lesions)
