"""Splits by patient: seeded, stratified by site and PE, as one hold-out or as folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import ConfigError


def draw_splits(
    strata: Sequence[Hashable], validation: float, test: float, rng: np.random.Generator
) -> list[str]:
    """train, val or test for each member, with these shares within each stratum (rounded).

    Raises ConfigError for impossible shares.
    """
    if min(validation, test) < 0 or validation + test > 1:
        raise ConfigError("The shares of validation and test must be >= 0 and add to at most 1.")
    splits = ["train"] * len(strata)
    for stratum in _ordered(strata):
        members = [i for i, value in enumerate(strata) if value == stratum]
        tests = round(test * len(members))
        held_out = tests + round(validation * len(members))
        for rank, index in enumerate(rng.permutation(len(members))[:held_out]):
            splits[members[int(index)]] = "test" if rank < tests else "val"
    return splits


def split_by_patient(manifest: Manifest, *, validation: float, test: float, seed: int = 0) -> Manifest:
    """The manifest with its splits drawn anew; all scans of a patient go together.

    validation, test: shares of the patients, within each site and within those with, without and with unknown
    PE. Excluded cases stay as they are.
    """
    patients, strata = _patients(manifest)
    drawn = draw_splits(strata, validation, test, np.random.default_rng(seed))
    return _with_splits(manifest, dict(zip(patients, drawn, strict=True)))


def k_folds(manifest: Manifest, folds: int, *, seed: int = 0, validation: float = 0.0) -> list[Manifest]:
    """Manifests of a cross-validation by patient: in the n-th, the n-th part is `test`, the rest `train`.

    Every patient is tested exactly once; the parts hold patients with and without PE and of each site alike,
    to within one. validation: the share of each fold's training patients that becomes `val`.

    Raises ConfigError for fewer than 2 folds or more folds than patients.
    """
    patients, strata = _patients(manifest)
    if not 2 <= folds <= len(patients):
        raise ConfigError(f"{folds} folds of {len(patients)} patients: give 2 up to the number of patients.")
    rng = np.random.default_rng(seed)
    part: dict[str, int] = {}
    for stratum in _ordered(strata):  # dealt like cards, going on where the last stratum ended
        members = [patients[i] for i, value in enumerate(strata) if value == stratum]
        for index in rng.permutation(len(members)):
            part[members[int(index)]] = len(part) % folds
    result = []
    for fold in range(folds):
        rest = [i for i, patient in enumerate(patients) if part[patient] != fold]
        drawn = draw_splits([strata[i] for i in rest], validation, 0.0, np.random.default_rng([seed, fold]))
        splits = dict.fromkeys(patients, "test") | {
            patients[i]: split for i, split in zip(rest, drawn, strict=True)
        }
        result.append(_with_splits(manifest, splits))
    return result


def _patients(manifest: Manifest) -> tuple[list[str], list[tuple[str, str]]]:
    """The patients of the cases in use, sorted, with site and PE: yes where any scan of theirs shows it."""
    scans: dict[str, list[Case]] = {}
    for case in manifest.select():
        scans.setdefault(case.key, []).append(case)
    patients = sorted(scans)
    pe = [max(case.pe for case in scans[patient]) for patient in patients]  # "" < "no" < "yes"
    return patients, [(scans[p][0].site, value) for p, value in zip(patients, pe, strict=True)]


def _with_splits(manifest: Manifest, splits: dict[str, str]) -> Manifest:
    cases = (c if c.role == "excluded" else replace(c, split=splits[c.key]) for c in manifest)
    return Manifest(tuple(cases), manifest.source_name)


def _ordered(strata: Sequence[Any]) -> list[Any]:
    return sorted(set(strata), reverse=True)
