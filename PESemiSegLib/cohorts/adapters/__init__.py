"""The data sets that are understood, one file each, and the guess which one a folder holds."""

from __future__ import annotations

from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Adapter
from PESemiSegLib.cohorts.adapters.cad_pe import CadPe
from PESemiSegLib.cohorts.adapters.dicom_seg import DicomSeg
from PESemiSegLib.cohorts.adapters.fumpe import Fumpe
from PESemiSegLib.cohorts.adapters.nnunet import NnUNet
from PESemiSegLib.cohorts.adapters.pairs import Pairs
from PESemiSegLib.cohorts.adapters.path_list import PathList
from PESemiSegLib.cohorts.adapters.phantom import Phantom
from PESemiSegLib.cohorts.adapters.read import Read
from PESemiSegLib.cohorts.adapters.rspect import Rspect
from PESemiSegLib.cohorts.adapters.scans import Scans
from PESemiSegLib.cohorts.adapters.seg_nrrd import SegNrrd
from PESemiSegLib.errors import ConfigError, InputError

# From the most particular layout to the most general: the first that recognises a folder is taken.
_ALL: tuple[Adapter, ...] = (
    PathList(),
    Phantom(),
    Fumpe(),
    Read(),
    CadPe(),
    Rspect(),
    NnUNet(),
    SegNrrd(),
    Pairs(),
    DicomSeg(),
    Scans(),
)
ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in _ALL}


def adapter_for(source: Path | str, name: str = "auto") -> Adapter:
    """The adapter of that name, or with "auto" the first that recognises the folder (or the list).

    One that is named is believed: what it misses there its `entries` say.

    Raises InputError for a source that is not there or not recognised, ConfigError for an unknown name.
    """
    source = Path(source)
    if name != "auto" and name not in ADAPTERS:
        raise ConfigError(f"There is no layout '{name}'; there are {', '.join(ADAPTERS)}.")
    if not source.is_dir() and not PathList().recognises(source):
        raise InputError(f"{source.name} is neither a folder nor a list (.csv, .tsv or .txt) of scans.")
    if name != "auto":
        return ADAPTERS[name]
    try:
        found = next((adapter for adapter in _ALL if adapter.recognises(source)), None)
    except OSError as error:
        raise InputError(f"{source.name} cannot be looked into: {error.strerror}.") from error
    if found is None:
        raise InputError(f"{source.name} does not have any layout that is known; see Docs/cohorts.md.")
    return found
