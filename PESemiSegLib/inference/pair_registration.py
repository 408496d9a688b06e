"""Owns the registering of many pairs: each is registered and checked; those that fail are told, not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.pair_list import Pair
from PESemiSegLib.cohorts.registration import compare
from PESemiSegLib.errors import InputError
from PESemiSegLib.inference.phase_pairs import lungs_of, on_one_grid
from PESemiSegLib.volumes.reader import read


def register_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    registered: bool = False,
    told: Callable[[int, str], None] = lambda number, text: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[list[Pair], list[str]]:
    """Lay each contrast scan, and its mask, on the plain scan; new files go into `folder` without any name.

    Args:
        registered: the pairs are registered already: they are checked all the same, and stay where they are.
        told: gets the number of each pair, from 1, and what came of it.
        check: called now and then; may raise, to stop.

    Returns:
        The pairs that can be used, on one grid each, and a sentence for each of the others.
    """
    used, refused = [], []
    for number, (contrast, plain) in enumerate(pairs, start=1):
        check()
        try:
            if registered:
                compare(read(contrast.image), read(plain.image), lungs_of).require()
            pair = on_one_grid(contrast, plain, folder, registered=registered, check=check)
        except InputError as error:
            refused.append(f"pair {number}: {error}")
            told(number, f"left out: {error}")
            continue
        told(number, "taken as it is" if registered else _figures(pair.figures))
        used.append((pair.contrast, replace(pair.plain, mask=None)))
    return used, refused


def _figures(figures: dict[str, float]) -> str:
    return (
        f"lungs overlap {figures['lungs_overlap_before']:.3f} -> {figures['lungs_overlap']:.3f}, "
        f"correlation {figures['ncc_before']:.3f} -> {figures['ncc']:.3f}"
    )
