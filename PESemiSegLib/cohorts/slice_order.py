"""Masks that are kept as an array beside the files of a scan: which slice of it belongs to which file.

Such masks follow the order of the files (by name, by instance number), not that of the slices in the patient.
The two run against each other wherever a scanner numbered its slices from the head to the feet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.marked import Marked
from PESemiSegLib.cohorts.natural import natural
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.volume import Volume


@dataclass(frozen=True)
class FileOrder:
    """order[k]: the place of the volume's source file k among the files by name; whether z falls with it."""

    order: np.ndarray
    descending: bool


def file_order(volume: Volume, slices: int) -> FileOrder:
    """How the files by name and the slices of the patient run.

    slices: how many the mask has. Raises InputError where files and mask cannot be matched one to one: other
    counts, multi-frame files, instance numbers that contradict the names, or positions in disorder.
    """
    files = list(volume.facts.source_files)
    if not files or volume.facts.source_frames:
        raise InputError(f"{volume.facts.source_name} is not a folder of one DICOM file a slice.")
    if len(files) != slices:
        name = volume.facts.source_name
        raise InputError(f"the mask has {slices} slices, {name} has {len(files)} that can be used")
    by_name = natural(files)
    if len({path.parent for path in files}) > 1:
        raise InputError(f"the slices of {volume.facts.source_name} lie in several folders")
    numbers = [_instance_number(path) for path in by_name]
    known = [n for n in numbers if n is not None]
    if len(set(known)) == len(files) and known != sorted(known):
        raise InputError(
            f"the names of the files in {volume.facts.source_name} and their instance numbers give different "
            "orders; the slices of the mask cannot be told"
        )
    place = {path: k for k, path in enumerate(by_name)}
    order = np.array([place[path] for path in files])
    steps = np.diff(order)
    if len(steps) and not (np.all(steps == 1) or np.all(steps == -1)):
        raise InputError(
            f"the files of {volume.facts.source_name} by name run neither up nor down the patient; the "
            "slices of the mask cannot be told"
        )
    upward = volume.source_grid.affine[2, 2] > 0
    return FileOrder(order, descending=bool(len(steps) and (steps[0] > 0) != upward))


def mask_in_file_order(mask: np.ndarray, volume: Volume) -> Marked:
    """A mask (slices by file name, rows, columns) on the volume's working grid; the note says if reversed.

    Image and mask are put in order together: `volumes` sorts the image by position, and the same permutation
    is applied here. Raises InputError as `file_order`.
    """
    found = file_order(volume, len(mask))
    rows, columns = volume.source_grid.shape[1:]
    if mask.shape[1:] != (rows, columns):
        raise InputError(
            f"the mask's slices are {mask.shape[2]}x{mask.shape[1]}, those of {volume.facts.source_name} are "
            f"{columns}x{rows}"
        )
    note = "files run from the head to the feet: image and mask were turned together"
    return Marked(volume.from_source(mask[found.order]), note if found.descending else "")


def _instance_number(path: Path) -> int | None:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["InstanceNumber"])
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return None
