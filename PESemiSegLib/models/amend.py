"""Owns a model's new operating point: the same networks in a new package, whose card says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.package import ModelPackage, amend_package

WORDS = ("name", "training", "metrics", "licence", "intended_use")
"""The fields of model.json that may be told anew with an operating point."""


def move_operating_point(
    package: ModelPackage,
    folder: str | Path,
    *,
    threshold: float | None = None,
    core_threshold: float | None = None,
    min_lesion_mm3: float | None = None,
    words: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelPackage:
    """Write `package` to `folder` with another operating point; needs no torch.

    What is None stays as it is; a core's threshold that equals the threshold takes the core away. The card
    records the package it was made of. Figures that were measured at the old point are kept under its name,
    unless `words` brings others.

    Args:
        words: fields of model.json to be replaced, see WORDS.

    Raises:
        ConfigError: nothing to change, a field that is not in WORDS, or a model without an operating point.
        OutputError: if the folder exists and `overwrite` is off, or cannot be written.
        PackageError: if a value does not fit.
    """
    if package.info.what.classes > 2:
        raise ConfigError(
            f"The model {package.info.name} has no thresholds: a pixel takes its likeliest class."
        )
    words = dict(words or {})
    if unknown := sorted(set(words) - set(WORDS)):
        raise ConfigError(f"{', '.join(unknown)} cannot be amended, only {', '.join(WORDS)}")
    asked = {"threshold": threshold, "core_threshold": core_threshold, "min_lesion_mm3": min_lesion_mm3}
    point = _point(package.info) | {name: value for name, value in asked.items() if value is not None}
    if point["core_threshold"] == point["threshold"]:
        point["core_threshold"] = None
    moved = point != _point(package.info)
    if not moved and not words:
        raise ConfigError("Nothing would change: give another threshold, core's threshold or smallest mark.")
    info = package.info
    changes: dict[str, Any] = dict(point) | words
    if isinstance(training := words.get("training", info.training), dict):  # else the package refuses it
        changes["training"] = training | {"amended_from": package.sha256}
    if moved and info.metrics and "metrics" not in words:
        changes["metrics"] = {f"measured before, with {_in_words(info)}": info.metrics}
    return amend_package(package, folder, overwrite=overwrite, **changes)


def read_words(file: Path) -> dict[str, Any]:
    """The words of a JSON file. Raises InputError where it cannot be read or is not one object."""
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read as JSON: {error}") from error
    if not isinstance(words, dict):
        raise InputError(f"{file.name} must hold one JSON object")
    return words


def _point(info: PackageInfo) -> dict[str, float | None]:
    return {
        "threshold": info.threshold,
        "core_threshold": info.core_threshold,
        "min_lesion_mm3": info.min_lesion_mm3,
    }


def _in_words(info: PackageInfo) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in _point(info).items() if value is not None)
