"""Results of single scans on disk, so that an interrupted evaluation goes on where it stopped.

One JSON file per scan and model. Its name is a hash of everything the result depends on: the model, the
settings, the program's version and the bytes of scan and masks. It holds figures only, and no patient.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import PESemiSegLib
from PESemiSegLib.atomic import whole_file
from PESemiSegLib.cohorts.fingerprint import fingerprint_of
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError, OutputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from PESemiSegLib.models.package import ModelPackage

R = TypeVar("R", bound="DataclassInstance")
CASES = "cases"  # the folder, in that of the tables
FORMAT = 2  # to be raised when a figure is computed otherwise: older results are then not reused
_NOT_IN_KEY = ("threads", "batch")  # they change the speed only


@dataclass(frozen=True)
class ResultStore(Generic[R]):
    """The folder of stored results of one kind; without a folder nothing is stored.

    read: makes a result again from what `dataclasses.asdict` made of it (patient and site are the case's own,
    NaN and infinity words). Raises KeyError, TypeError or ValueError for what it cannot read.
    """

    folder: Path | None
    read: Callable[[dict[str, Any], Case], R]

    def of(
        self,
        case: Case,
        packages: Sequence[ModelPackage],
        how: Callable[[ModelPackage], Mapping[str, Any]],
        measured: Callable[[Sequence[ModelPackage]], Iterable[R]],
        *others: Case,
    ) -> tuple[tuple[R, ...], bool]:
        """The result of a case for every model, stored or measured (and then stored); and whether all were.

        how: on what, beside model and data, a result depends. measured: gives the results of some models, one
        after another. others: further scans that are read. Raises InputError for a file that is missing,
        OutputError, and what `measured` raises.
        """
        keys = [""] * len(packages)
        if self.folder is not None:
            data = "|".join(map(data_fingerprint, (case, *others)))
            keys = [_key(data, package, how(package)) for package in packages]
        found = [self._load(key, case) for key in keys]
        missing = [n for n, result in enumerate(found) if result is None]
        if missing:
            for n, result in zip(missing, measured([packages[n] for n in missing]), strict=True):
                found[n] = result
                self._save(keys[n], result)
        return tuple(result for result in found if result is not None), not missing

    def _load(self, key: str, case: Case) -> R | None:
        """The stored result, named after `case`; None where there is none or it is damaged."""
        if self.folder is None:
            return None
        try:
            record = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            return self.read(record, case)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _save(self, key: str, result: R) -> None:
        """Write aside, then move into place; raises OutputError."""
        if self.folder is None:
            return
        record = asdict(result)
        del record["patient"], record["site"]
        path = self.folder / f"{key}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as aside:
                aside.write_text(json.dumps(_plain(record), allow_nan=False), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"A case's result cannot be stored: {error.strerror}.") from error


def segmenting(package: ModelPackage, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a result of `inference.segment` depends on: the settings, with the package's values filled in."""
    from PESemiSegLib.inference.settings import Settings

    resolved = asdict(Settings(**settings).resolved(package))
    return {name: value for name, value in resolved.items() if name not in _NOT_IN_KEY}


def floats(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the words for NaN and infinity as numbers again."""
    return {name: float(value) if isinstance(value, str) else value for name, value in record.items()}


def _key(data: str, package: ModelPackage, how: Mapping[str, Any]) -> str:
    depends_on = {
        "format": FORMAT,
        "program": PESemiSegLib.__version__,
        "data": data,
        "model": _networks_of(package),
        **how,
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]


def _networks_of(package: ModelPackage) -> dict[str, Any]:
    """What a mark depends on: the networks and what they are fed with; not name, card and metrics."""
    info = package.info
    files = {name: digest for name, digest in info.files.items() if name != "README.md"}
    fed = {"spacing_mm": info.spacing_mm, "hu_window": info.hu_window, "context": info.context}
    return {"files": files} | fed


def data_fingerprint(case: Case) -> str:
    """Hash of the bytes of scan, mask, lesion image and facts; raises InputError where one is missing."""
    files = [case.image, case.mask, case.lesions]
    if case.lesions is not None:
        facts = case.lesions.with_name("facts.json")
        files.append(facts if facts.exists() else None)
    try:
        parts = ["-" if path is None else fingerprint_of(path) for path in files]
    except OSError as error:
        raise InputError(f"A file of the case {case.image.name} cannot be read: {error.strerror}.") from error
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Arrays as lists; NaN and infinity as words, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
