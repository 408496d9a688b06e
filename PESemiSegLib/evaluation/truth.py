"""A case's scan with what is known to be true about it: mask, embolus instances, their places."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.labelmap import read_on_grid
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume


@dataclass(frozen=True)
class Truth:
    """mask bool (z, y, x) on the working grid of the scan; instances int or None; locations by instance."""

    mask: np.ndarray
    instances: np.ndarray | None
    locations: dict[int, str]


def read_case(case: Case) -> tuple[Volume, Truth]:
    """The scan and its truth; raises InputError for a case without mask or with masks on another grid."""
    if case.mask is None:
        raise InputError(f"The case of {case.image.name} has no mask to be measured against.")
    volume = read(case.image)
    mask = read_on_grid(case.mask, volume) > 0
    if case.lesions is None:
        return volume, Truth(mask, None, {})
    return volume, Truth(
        mask, read_on_grid(case.lesions, volume), _locations(case.lesions.with_name("facts.json"))
    )


def read_labels(case: Case) -> tuple[Volume, np.ndarray]:
    """The scan and its label map (z, y, x), every value kept; raises InputError as `read_case` does."""
    if case.mask is None:
        raise InputError(f"The case of {case.image.name} has no mask to be measured against.")
    volume = read(case.image)
    return volume, read_on_grid(case.mask, volume)


def _locations(facts: Path) -> dict[int, str]:
    """Central or peripheral, as the made-up patient's facts say; empty where there are none."""
    if not facts.exists():
        return {}
    try:
        lesions = json.loads(facts.read_text(encoding="utf-8"))["lesions"]
        return {int(lesion["id"]): str(lesion["level"]) for lesion in lesions}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{facts.name} beside a lesion image cannot be read: {error}") from error
