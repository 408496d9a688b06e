"""Splits by patient: seeded, stratified by site and PE, as one hold-out or as folds of a cross-validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import ConfigError

_LOG = logging.getLogger(__name__)


def draw_splits(
    strata: Sequence[Hashable], validation: float, test: float, rng: np.random.Generator
) -> list[str]:
    """train, val or test for each member: these shares of all of them, and of each stratum to within one.

    What a stratum's whole patients leave over goes to those that are owed most (largest remainder); lots are
    drawn between equals. A share that is less than half a patient is nobody's, which is logged as a warning.

    Raises ConfigError for impossible shares.
    """
    if min(validation, test) < 0 or validation + test > 1:
        raise ConfigError("The shares of validation and test must be >= 0 and add to at most 1.")
    names = _ordered(strata)
    members = [[i for i, value in enumerate(strata) if value == name] for name in names]
    sizes = [len(group) for group in members]
    lots = [(0.0, float(lot)) for lot in rng.spawn(1)[0].random(len(names))]
    tests = _apportioned(test, sizes, sizes, lots)
    # of equals, one that has given less to the test set than it owes comes first
    lots = [(test * n - given, lot) for n, given, (_, lot) in zip(sizes, tests, lots, strict=True)]
    room = [n - given for n, given in zip(sizes, tests, strict=True)]
    validations = _apportioned(validation, sizes, room, lots)
    splits = ["train"] * len(strata)
    for group, tested, validated in zip(members, tests, validations, strict=True):
        for rank, index in enumerate(rng.permutation(len(group))[: tested + validated]):
            splits[group[int(index)]] = "test" if rank < tested else "val"
    for name, share in (("val", validation), ("test", test)):
        if share > 0 and strata and name not in splits:
            count = len(strata)
            _LOG.warning("%g %% of %d patients is nobody: the split %s is empty", 100 * share, count, name)
    return splits


def _apportioned(
    share: float, sizes: Sequence[int], room: Sequence[int], lots: Sequence[tuple[float, float]]
) -> list[int]:
    """How many of each stratum make up this share of all, as nearly as room allows (Hamilton's method).

    Half a patient stays in training. Where two are owed the same, the higher lot wins.
    """
    total = min(math.ceil(share * sum(sizes) - 0.5), sum(room))
    given = [min(math.floor(share * n), free) for n, free in zip(sizes, room, strict=True)]
    while sum(given) < total:
        open_ones = [i for i, free in enumerate(room) if given[i] < free]
        given[max(open_ones, key=lambda i: (share * sizes[i] - given[i], lots[i]))] += 1
    return given


def split_by_patient(manifest: Manifest, *, validation: float, test: float, seed: int = 0) -> Manifest:
    """The manifest with its splits drawn anew; all scans of a patient go together.

    validation, test: shares of the patients, of each site and of those with, without and with unknown PE as
    nearly as whole patients allow. Excluded cases stay as they are.
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


def hide_labels(manifest: Manifest, labelled: float, *, seed: int = 0) -> Manifest:
    """The manifest with a share of the labelled training patients left so, and the others unlabelled.

    For studies of how few labels suffice: drawn as splits are, with at least one patient kept. The masks of
    the others leave the manifest. Raises ConfigError for a share outside 0 to 1.
    """
    if not 0 < labelled <= 1:
        raise ConfigError(f"A share of {labelled} labelled patients: give more than 0, up to 1.")
    known = manifest.select("train", "labelled")
    if labelled == 1 or not len(known):
        return manifest
    patients, strata = _patients(known)
    drawn = draw_splits(strata, 1.0 - labelled, 0.0, np.random.default_rng(seed))
    kept = {p for p, split in zip(patients, drawn, strict=True) if split == "train"} or {patients[0]}
    cases = (
        replace(case, role="unlabelled", mask=None, lesions=None)
        if case.role == "labelled" and case.split == "train" and case.key not in kept
        else case
        for case in manifest
    )
    return Manifest(tuple(cases), manifest.source_name)


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
