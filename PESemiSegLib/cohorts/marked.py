"""A mask as it is handed on: on the grid of its scan, with a note on how it came there, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from PESemiSegLib.volumes.volume import Volume


class Marked(NamedTuple):
    """A mask on the working grid of its scan: integers (z, y, x), and a note on how it came there."""

    labels: np.ndarray
    note: str = ""


MaskReader = Callable[[Volume], Marked]
"""Gives the mask of a scan; raises InputError."""
