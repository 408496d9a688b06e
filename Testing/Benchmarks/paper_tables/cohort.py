"""The made-up hospitals of the tables: patients from fixed seeds, made when they are first needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from plan import ORACLE, Cell
from scales import Scale

from PESemiSegLib.cohorts.build import with_fingerprints
from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
from PESemiSegLib.phantom.recipe import Recipe

_SEEDS = {"train": 3101, "test": 3202}
_STYLES = {"B-image": ("A", "B", "A"), "B-label": ("A", "A", "B")}  # patients, scanner, annotator
"""Hospitals that share all but one thing with A; their patients are others than A's."""


def patients(scale: Scale, site: str, split: str) -> list[Recipe]:
    """The patients of one split of a site; those of the test without emboli come last."""
    counts = scale.counts[site[0]]
    people, scanner, annotator = _STYLES.get(site, (site, None, None))
    many = counts.train if split == "train" else counts.test + counts.free
    seed = _SEEDS[split] + (1000 if site in _STYLES else 0)
    return [
        Recipe(
            people,
            seed,
            number,
            scale.phantom,
            pe=split == "train" or number < counts.test,
            scanner_site=scanner,
            label_site=annotator,
        )
        for number in range(many)
    ]


def make(scale: Scale, site: str, split: str, folder: Path) -> Path:
    """The folder of a site's split below `folder`, with every patient in it; those there are not remade."""
    home = folder / f"{site}-{split}"
    for torn in home.glob(".*"):  # by a run that was killed
        shutil.rmtree(torn)
    missing = [recipe for recipe in patients(scale, site, split) if not _is_made(recipe, home)]
    jobs = min(len(missing), os.cpu_count() or 1)
    if jobs == 1:
        for recipe in missing:
            _write(recipe, home)
    elif jobs:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            list(pool.map(_write, missing, [home] * len(missing)))
    return home


def manifest(scale: Scale, cell: Cell, folder: Path, path: Path) -> Path:
    """Write the manifest of a run: A's labelled patients, and the target's scans, labelled for the oracle."""
    cases = list(_cases(scale, "A", "train", folder))
    if cell.target:
        others = _cases(scale, cell.target, "train", folder)
        cases += others if cell.strategy == ORACLE else map(_bare, others)
    write_manifest(Manifest(tuple(cases)), path)
    return path


def held_out(scale: Scale, site: str, folder: Path) -> list[Case]:
    """The labelled patients a run is measured on."""
    return list(_cases(scale, site, "test", folder))


def _cases(scale: Scale, site: str, split: str, folder: Path) -> Iterator[Case]:
    """All of a split, called after the hospital whose scanner and annotator they have."""
    names = frozenset(recipe.name for recipe in patients(scale, site, split))
    for case in _read(make(scale, site, split, folder), names):
        yield replace(case, site=site, split=split)


@cache
def _read(home: Path, names: frozenset[str]) -> Manifest:
    """These patients of a folder with their fingerprints, which take most of a second each.

    Others may be left from when a split had more.
    """
    known = from_phantom(home, validation=0.0)
    return with_fingerprints(replace(known, cases=tuple(case for case in known if case.patient in names)))


def _bare(case: Case) -> Case:
    return replace(case, role="unlabelled", mask=None, lesions=None, label_style="")


def _is_made(recipe: Recipe, home: Path) -> bool:
    """Whether a patient is there, and of this very recipe: older generators' are others of the same name."""
    path = home / recipe.name / "recipe.json"
    return path.exists() and path.read_text(encoding="utf-8") == recipe.to_json()


def _write(recipe: Recipe, home: Path) -> None:
    from PESemiSegLib.phantom.patient import make_case
    from PESemiSegLib.phantom.write import write_case

    write_case(make_case(recipe), home / recipe.name, "nifti", overwrite=True)
