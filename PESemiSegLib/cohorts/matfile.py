"""Arrays out of MATLAB files, both kinds: version 5 to 7.2 (SciPy) and 7.3, which is HDF5 (h5py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from PESemiSegLib.errors import InputError

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_mat(path: Path, variable: str) -> np.ndarray:
    """The numeric array `variable` (upper and lower case alike), with axes as MATLAB shows them.

    Raises InputError for a damaged file, one without the variable, or one whose variable is no array of
    numbers; ModuleNotFoundError where a 7.3 file is met and h5py is not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(520)
        array = _read_73(path, variable) if _HDF5 in (head[:8], head[512:520]) else _read_5(path, variable)
    except (ModuleNotFoundError, InputError):
        raise
    except Exception as error:  # both libraries raise whatever their parsers stumble upon
        raise InputError(f"{path.name} cannot be read as a MATLAB file; copy or download it again") from error
    if array.dtype.kind not in "buif" or not array.size:
        raise InputError(f"{variable} in {path.name} is not an array of numbers")
    return array


def _read_5(path: Path, variable: str) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    names = [name for name, _, _ in whosmat(path)]
    name = _named(names, variable, path)
    return np.asarray(loadmat(path, variable_names=[name])[name])


def _read_73(path: Path, variable: str) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        item: Any = file[_named([name for name in file if not name.startswith("#")], variable, path)]
        if not isinstance(item, h5py.Dataset):
            raise InputError(f"{variable} in {path.name} is not an array of numbers")
        return np.asarray(item).T  # HDF5 keeps MATLAB's axes in reverse


def _named(names: list[str], variable: str, path: Path) -> str:
    found = [name for name in names if name.lower() == variable.lower()]
    if len(found) != 1:
        there = ", ".join(names) or "nothing"
        raise InputError(f"{path.name} has no variable {variable}; it has {there}")
    return found[0]
