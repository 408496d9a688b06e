"""Stored results of single scans, so that an interrupted evaluation goes on where it stopped.

One JSON file per scan and model. Its name is a hash of everything the result depends on: the model, the
settings, the program's version and the bytes of scan and masks. It holds figures only, and no patient.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PESemiSegLib
from PESemiSegLib.atomic import whole_file
from PESemiSegLib.cohorts.manifest import Case, fingerprint_of
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.evaluation.case import CaseResult, Measuring
from PESemiSegLib.evaluation.lesions import Lesion, LesionReport
from PESemiSegLib.evaluation.metrics import MaskMetrics, SurfaceMetrics
from PESemiSegLib.evaluation.paper_compat import PaperCompatMetrics
from PESemiSegLib.evaluation.sweep import CurvePoint

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

FORMAT = 1  # to be raised when a figure is computed otherwise: older results are then not reused
_NOT_IN_KEY = ("threads", "batch")  # they change the speed only


@dataclass(frozen=True)
class ResultStore:
    """The folder of stored results."""

    folder: Path

    def key(self, data: str, package: ModelPackage, measuring: Measuring, settings: Mapping[str, Any]) -> str:
        """The name of a result; `data` is `data_fingerprint` of the case."""
        from PESemiSegLib.inference.settings import Settings

        resolved = asdict(Settings(**settings).resolved(package))
        depends_on = {
            "format": FORMAT,
            "program": PESemiSegLib.__version__,
            "data": data,
            "model": _networks_of(package),
            "measuring": asdict(measuring),
            "settings": {name: value for name, value in resolved.items() if name not in _NOT_IN_KEY},
        }
        return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]

    def load(self, key: str, case: Case) -> CaseResult | None:
        """The stored result, named after `case`; None where there is none or it is damaged."""
        try:
            record = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            return _from_record(record, case)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: str, result: CaseResult) -> None:
        """Write aside, then move into place; raises OutputError."""
        record = asdict(result)
        del record["patient"], record["site"]
        path = self.folder / f"{key}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as aside:
                aside.write_text(json.dumps(_without_nan(record), allow_nan=False), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"A case's result cannot be stored: {error.strerror}.") from error


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


def _without_nan(value: Any) -> Any:
    """NaN and infinity as words, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_record(record: dict[str, Any], case: Case) -> CaseResult:
    lesions = record["lesions"]
    return CaseResult(
        patient=case.patient,
        site=case.site,
        overlap=MaskMetrics(**_floats(record["overlap"])),
        surface=SurfaceMetrics(**_floats(record["surface"])),
        lesions=LesionReport(
            tuple(Lesion(**lesion) for lesion in lesions["lesions"]),
            int(lesions["marks"]),
            int(lesions["false_marks"]),
        ),
        seconds=float(record["seconds"]),
        paper=PaperCompatMetrics(**record["paper"]),
        curve=tuple(CurvePoint(**point) for point in record["curve"]),
        score=float(record["score"]),
    )


def _floats(record: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, str) else value for name, value in record.items()}
