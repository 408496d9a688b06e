"""Owns the bringing of pairs onto one grid: contrast scan and mask are laid on the plain scan."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.cohorts.cache import source_stamp
from PESemiSegLib.cohorts.labelmap import on_same_grid, read_on_grid, stored_on_same_grid
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.cohorts.phases import REGISTERED
from PESemiSegLib.cohorts.registration import Lungs, compare, register
from PESemiSegLib.cohorts.warp import warped
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume
from PESemiSegLib.volumes.write import write_nifti

log = logging.getLogger(__name__)
_VERSION = 2
_AIR_HU = -1024
_IMAGE, _MASK, _FIGURES = "contrast.nii.gz", "mask.nii.gz", "registration.json"


@dataclass(frozen=True)
class PhasePair:
    """Both scans of a patient on the grid of the plain one, each with the mask that was drawn on the other.

    figures: the check of the registration; empty where the pair came registered and was not checked.
    """

    plain: Case
    contrast: Case
    figures: dict[str, float]


def on_one_grid(
    contrast: Case,
    plain: Case,
    folder: Path,
    *,
    registered: bool = False,
    check: Callable[[], None] = lambda: None,
) -> PhasePair:
    """Register a pair, or find it registered before in `folder`; the manifest's files are never changed.

    Args:
        contrast: the labelled case. plain: the same patient without contrast medium.
        registered: the scans lie on each other as they are; their grids are still compared. Where the
            manifest says so (`phases.REGISTERED`) it is known.
        check: called now and then; may raise, to stop.

    Raises:
        InputError: a scan that cannot be read, a mask on another grid, a registration that failed its check.
        OutputError: the folder cannot be written.
    """
    known = _told_of(plain, contrast)
    if registered or REGISTERED in plain.problems:
        if not stored_on_same_grid(plain.image, contrast.image):
            raise _apart(plain, contrast)
        return PhasePair(known, contrast, {})
    entry = folder / _entry(contrast, plain)
    if not (entry / _FIGURES).exists():
        _build(contrast, plain, entry, check)
    figures: dict[str, float] = json.loads((entry / _FIGURES).read_text(encoding="utf-8"))
    mask = entry / _MASK if contrast.mask is not None else None
    return PhasePair(
        replace(known, mask=mask), replace(contrast, image=entry / _IMAGE, mask=mask, lesions=None), figures
    )


def as_registered(contrast: Case, plain: Case) -> PhasePair:
    """A pair that came registered, as it is, after the check that the others pass too; raises InputError."""
    fixed, moving = read(plain.image), read(contrast.image)
    if not on_same_grid(fixed, moving):
        raise _apart(plain, contrast)
    found = compare(moving, fixed, lungs_of)
    found.require()
    return PhasePair(_told_of(plain, contrast), contrast, found.figures())


def lungs_of(volume: Volume) -> Lungs:
    """The lungs as `inference.lungs` finds them, and the grid of that mask."""
    field = lung_mask(volume.hu, volume.spacing_mm)
    steps = np.diag([*field.stride[::-1], 1.0])
    return field.mask, Grid(field.mask.shape, volume.grid.affine @ steps)


def _told_of(plain: Case, contrast: Case) -> Case:
    return replace(plain, mask=contrast.mask, role=contrast.role, split=contrast.split, pe=contrast.pe)


def _apart(plain: Case, contrast: Case) -> InputError:
    return InputError(
        f"{plain.image.name} and {contrast.image.name} are said to be registered and lie on different "
        "grids; register them (`pesemiseg cohort register`, without --registered)."
    )


def _entry(contrast: Case, plain: Case) -> str:
    # a hash, because patient identifiers do not belong in file names
    name = f"{_VERSION}|{contrast.key}|{source_stamp(contrast)}|{source_stamp(plain)}"
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def _build(contrast: Case, plain: Case, entry: Path, check: Callable[[], None]) -> None:
    moving, fixed = read(contrast.image), read(plain.image)
    found = register(moving, fixed, lungs_of, check=check)
    found.require()
    log.info("a pair was registered: %s", ", ".join(f"{k} {v:g}" for k, v in found.figures().items()))
    image = warped(moving.hu, moving.grid, fixed.grid, found, fill=_AIR_HU)
    try:
        with whole_folder(entry, overwrite=True) as aside:
            write_nifti(aside / _IMAGE, image, fixed.grid, description="registered to the plain scan")
            if contrast.mask is not None:
                mask = (read_on_grid(contrast.mask, moving) > 0).astype(np.uint8)
                moved = warped(mask, moving.grid, fixed.grid, found, fill=0)
                write_nifti(aside / _MASK, moved, fixed.grid)
            (aside / _FIGURES).write_text(json.dumps(found.figures(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"The registered pair cannot be written to {entry.parent.name}: {error.strerror}."
        ) from error
