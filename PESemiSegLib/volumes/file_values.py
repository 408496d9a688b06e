"""Voxel values of image files as int16 HU: rounding, clipping, padding, numbers that are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .native import AIR_HU
from .wording import counted

HIGHEST_HU = np.iinfo(np.int16).max
NORMALISED_RANGE = 4.0  # fractional values within so few units are normalised intensities, not HU
ROUNDED_OFF = 0.01  # no fraction: whole numbers of that range that were kept in 8 bits with a slope


def hu_from_slabs(
    slabs: Iterable[npt.NDArray[Any]], shape: tuple[int, int, int], name: str
) -> tuple[npt.NDArray[np.int16], list[str]]:
    """Gather slabs (n, y, x) of any real type into one int16 stack.

    NaN, infinities and values below air become -1024.

    Returns:
        stack of `shape`, warnings.

    Raises:
        InputError: if more than half of the values are no numbers, or they cannot be HU.
    """
    stack = np.empty(shape, dtype=np.int16)
    start, no_numbers = 0, 0
    low, high = np.inf, -np.inf
    fractions = False
    for slab in slabs:
        out = stack[start : start + len(slab)]
        start += len(slab)
        if np.issubdtype(slab.dtype, np.floating):
            finite = np.isfinite(slab)
            bad = slab.size - int(np.count_nonzero(finite))
            if bad:
                no_numbers += bad
                slab = np.where(finite, slab, AIR_HU)
            values = slab[finite] if bad else slab
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            rounded = np.rint(slab)
            if not fractions and high - low <= NORMALISED_RANGE:  # beyond it they say nothing
                fractions = bool((np.abs(rounded - slab) > ROUNDED_OFF).any())
            slab = rounded
        elif slab.dtype.itemsize != 2 or slab.dtype.kind == "u":  # their own type cannot hold both limits
            slab = slab.astype(np.int64)
        out[...] = np.clip(slab, AIR_HU, HIGHEST_HU)
    if no_numbers > stack.size / 2:
        raise InputError(
            f"{name}: {no_numbers / stack.size:.0%} of its values are not numbers; export it again"
        )
    if fractions and high - low <= NORMALISED_RANGE:
        raise InputError(
            f"{name}: its values lie between {low:.3g} and {high:.3g}: normalised, not Hounsfield units; "
            "give the CT itself"
        )
    warnings = []
    if no_numbers:
        warnings.append(
            f"{counted(no_numbers, 'voxel')} held no number (NaN or infinite); set to air (-1024 HU)."
        )
    return stack, warnings
