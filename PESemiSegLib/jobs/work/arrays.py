"""Owns how a job writes an array into its folder: aside first, then into place, so that none is ever half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.atomic import whole_file

if TYPE_CHECKING:
    import numpy as np


def save_array(path: Path, array: np.ndarray) -> Path:
    """Write a .npy and return its path. Raises OutputError."""
    import numpy as np

    from PESemiSegLib.volumes.write import output_error

    try:
        with whole_file(path) as aside, aside.open("wb") as handle:
            np.save(handle, array, allow_pickle=False)
    except OSError as error:
        raise output_error(path, error) from error
    return path
