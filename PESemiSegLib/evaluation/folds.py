"""Cross-validation: one method with a model per fold, each asked of the patients that it has not seen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest
from PESemiSegLib.errors import ConfigError, InputError

if TYPE_CHECKING:
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import ModelPackage

PLACE = "{}"
"""In the name of a model: where the number of the fold stands."""


@dataclass(frozen=True)
class CrossValidated:
    """The models of one method, one per fold. fold_of: which of them has not seen a patient, by key."""

    packages: tuple[ModelPackage, ...]
    fold_of: Mapping[str, int]

    @property
    def info(self) -> PackageInfo:
        """What is said of the method: that of the first fold's model."""
        return self.packages[0].info

    @property
    def sha256(self) -> str:
        """Stands for all of them."""
        return hashlib.sha256("".join(each.sha256 for each in self.packages).encode()).hexdigest()

    def of(self, case: Case) -> ModelPackage:
        """The model that has not seen the patient."""
        return self.packages[self.fold_of[case.key]]


Model: TypeAlias = "ModelPackage | CrossValidated"
"""What is measured."""


def asked_of(model: Model, case: Case) -> ModelPackage:
    """The package that reads a case."""
    return model.of(case) if isinstance(model, CrossValidated) else model


def sendable(model: Model) -> Model:
    """The same for another process: unpacked files stay with this one, which outlives it."""
    if isinstance(model, CrossValidated):
        return replace(model, packages=tuple(replace(each, _unpacked=None) for each in model.packages))
    return replace(model, _unpacked=None)


def read_folds(folder: Path) -> dict[int, Manifest]:
    """The manifests `fold1.csv`, `fold2.csv` ... of a folder, by number; raises InputError without any."""
    paths = {
        int(found[1]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (found := re.fullmatch(r"fold(\d+)\.csv", path.name))
    }
    if not paths:
        raise InputError(f"{folder.name} holds no fold1.csv, fold2.csv ...: see `pesemiseg cohort split`.")
    return {number: read_manifest(paths[number]) for number in sorted(paths)}


def held_out(folds: Mapping[int, Manifest]) -> Manifest:
    """All rows of the patients that each fold tests, as one cohort; InputError where one is in two folds.

    Excluded rows too: a scan without contrast medium is one, and belongs to the pair of a tested patient.
    """
    rows: list[Case] = []
    for fold in folds.values():
        tested = _tested(fold)
        rows += [case for case in fold if case.key in tested]
    return Manifest(tuple(rows), "folds")


def _tested(fold: Manifest) -> set[str]:
    """The patients that a fold tests, by key; excluded rows do not tell, whose split no fold draws."""
    return {case.key for case in fold.select("test")}


def cross_validated(packages: Sequence[ModelPackage], folds: Mapping[int, Manifest]) -> CrossValidated:
    """The models of one method, in the order of the folds; ConfigError where their networks differ."""
    first, *others = packages
    for other in others:
        if (other.info.what, other.info.network) != (first.info.what, first.info.network):
            raise ConfigError("The folds' models have different networks: one method has one.")
    fold_of = {key: n for n, fold in enumerate(folds.values()) for key in _tested(fold)}
    return CrossValidated(tuple(packages), fold_of)
