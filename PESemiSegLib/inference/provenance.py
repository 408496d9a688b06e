"""Owns the record of how a result came about: model, program, settings, engine, input fingerprint, times."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import PESemiSegLib

if TYPE_CHECKING:
    from PESemiSegLib.inference.engines.base import EngineInfo
    from PESemiSegLib.inference.engines.select import Choice
    from PESemiSegLib.inference.result import Box
    from PESemiSegLib.inference.settings import Settings
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume


def fingerprint(volume: Volume) -> str:
    """SHA-256 of the HU and the geometry of the working grid; says nothing about the patient."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.hu).data)
    digest.update(np.asarray(volume.shape, dtype="<i8").tobytes())
    rounded = np.round(np.asarray(volume.affine, dtype="<f8"), 4) + 0.0  # of -0.0 and 0.0 one
    digest.update(rounded.tobytes())
    return digest.hexdigest()


def provenance(
    volume: Volume,
    package: ModelPackage,
    settings: Settings,
    engine: EngineInfo,
    choice: Choice,
    box: Box,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Plain types for result.json. Holds no name, identifier or date of the patient, and no path."""
    info = package.info
    return {
        "program": {"name": "pesemiseg", "version": PESemiSegLib.__version__},
        "intended_use": "Research use only. Not a medical device.",
        "model": {
            "name": info.name,
            "marks": info.what.name,
            "sha256": package.sha256,
            "data_origin": info.data_origin,
            "licence": info.licence,
            "hu_window": list(info.hu_window),
            "spacing_mm": info.spacing_mm,
            "context": info.context,
        },
        "settings": asdict(settings),
        "engine": asdict(engine) | {"choice": choice.reason},
        "input": {
            "sha256": fingerprint(volume),
            "shape_zyx": list(volume.shape),
            "spacing_mm_xyz": [round(mm, 6) for mm in volume.spacing_mm],
            "kind": volume.facts.kind,
            "warnings": list(volume.facts.warnings),
        },
        "box": asdict(box),
        "seconds": dict(seconds) | {"total": round(sum(seconds.values()), 3)},
    }
