"""Owns the registering of many pairs: each is registered and checked; those that fail are told, not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.cohorts.cache import source_stamp
from PESemiSegLib.cohorts.labelmap import known_pe
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.cohorts.phases import REGISTERED, Pair
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.inference.phase_pairs import as_registered, on_one_grid
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.write import write_nifti


def register_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    registered: bool = False,
    told: Callable[[int, str], None] = lambda number, text: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[list[Pair], list[str]]:
    """Lay each contrast scan, and its mask, on the plain scan; new files go into `folder` without any name.

    Whether there is PE is taken from the mask as it was drawn, where the list does not say. Labelled patients
    without PE get an empty mask where they have none.

    Args:
        registered: the pairs are registered already: they are checked all the same, and stay where they are.
        told: gets the number of each pair, from 1, and what came of it.
        check: called now and then; may raise, to stop.

    Returns:
        The pairs that can be used, on one grid each, and a sentence for each of the others.

    Raises:
        OutputError: the folder cannot be written.
    """
    used, refused = [], []
    for number, (contrast, plain) in enumerate(pairs, start=1):
        check()
        as_is = registered or REGISTERED in plain.problems
        try:
            case = _labelled(replace(contrast, pe=known_pe(contrast)), folder)
            pair = as_registered(case, plain) if as_is else on_one_grid(case, plain, folder, check=check)
        except InputError as error:
            refused.append(f"pair {number}: {error}")
            told(number, f"left out: {error}")
            continue
        told(number, ("taken as it is, " if as_is else "") + _figures(pair.figures))
        notes = dict.fromkeys((*plain.problems, REGISTERED))
        used.append((pair.contrast, replace(pair.plain, mask=None, problems=tuple(notes))))
    return used, refused


def _labelled(case: Case, folder: Path) -> Case:
    """The case; a labelled one without a mask, which has no PE, gets an empty one in `folder`."""
    if case.mask is not None or case.role != "labelled":
        return case
    name = hashlib.sha256(f"empty|{case.key}|{source_stamp(case)}".encode()).hexdigest()[:20]
    mask = folder / name / "mask.nii.gz"
    if not mask.exists():  # else its time changes, and the pair is registered again
        grid = read(case.image).grid
        try:
            with whole_folder(mask.parent, overwrite=True) as aside:
                write_nifti(aside / mask.name, np.zeros(grid.shape, np.uint8), grid)
        except OSError as error:
            raise OutputError(
                f"An empty mask cannot be written to {folder.name}: {error.strerror}."
            ) from error
    return replace(case, mask=mask)


def _figures(figures: dict[str, float]) -> str:
    return (
        f"lungs overlap {figures['lungs_overlap_before']:.3f} -> {figures['lungs_overlap']:.3f}, "
        f"correlation {figures['ncc_before']:.3f} -> {figures['ncc']:.3f}"
    )
