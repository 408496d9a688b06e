"""Owns how a job writes an array into its folder: aside first, then into place, so that none is ever half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def save_array(path: Path, array: np.ndarray) -> Path:
    """Write a .npy and return its path. Raises OutputError."""
    import numpy as np

    from PESemiSegLib.volumes.write import output_error

    aside = path.with_name(f".{path.name}")
    try:
        with aside.open("wb") as handle:
            np.save(handle, array, allow_pickle=False)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise output_error(path, error) from error
    return path
