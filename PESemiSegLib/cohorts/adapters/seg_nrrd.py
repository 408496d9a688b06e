"""Segmentations of 3D Slicer (.seg.nrrd): the segment is found by its terminology."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.adapters.pairing import has_mask, is_mask_file, pairs
from PESemiSegLib.cohorts.adapters.persons import joined
from PESemiSegLib.cohorts.labelmap import resampled
from PESemiSegLib.cohorts.marked import Marked, MaskReader
from PESemiSegLib.cohorts.segment_choice import Segment, emboli
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.grid import make_affine
from PESemiSegLib.volumes.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk


class SegNrrd:
    """`p7.seg.nrrd` beside `p7.nrrd`, `p7.nii.gz` or the DICOM folder `p7`; or both in a folder a patient.

    In a folder a patient they may lie at any depth. Masks of other formats are read as those of `Pairs`.
    """

    name = "seg_nrrd"
    title = "3D Slicer segmentations"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return has_mask(folder, _is_segmentation)

    def entries(self, folder: Path) -> Iterator[Entry]:
        found = list(
            pairs(folder, _is_mask, lambda path: mask_reader(path) if _is_segmentation(path) else path)
        )
        if not any(entry.mask or entry.problem for entry in found):
            raise InputError(f"{folder.name} holds no scan beside a .seg.nrrd.")
        return joined(found)


def mask_reader(path: Path) -> MaskReader:
    """Reads the emboli of a .seg.nrrd onto the grid of a scan."""

    def read(scan: Volume) -> Marked:
        image = _load(path)
        chosen = emboli(_segments(image), path.name)
        layers = _array(image)
        marked = np.zeros(layers.shape[:3], np.uint8)
        for segment in chosen:
            layer, value = _place(image, segment.number)
            if layer >= layers.shape[3]:
                raise InputError(f"{path.name}: segment {segment.name} lies in a layer that is not there")
            marked |= layers[..., layer] == value
        direction = np.reshape(image.GetDirection(), (3, 3))
        affine = make_affine(image.GetSpacing(), image.GetOrigin(), direction)
        mask = resampled(marked, affine, scan)
        if marked.any() and not mask.any():
            raise InputError(f"{path.name} marks nothing within the scan; it belongs to another one")
        return Marked(mask)

    return read


def _is_segmentation(path: Path) -> bool:
    return path.name.lower().endswith(".seg.nrrd")


def _is_mask(path: Path) -> bool:
    return _is_segmentation(path) or is_mask_file(path)


def _load(path: Path) -> sitk.Image:
    import SimpleITK as sitk

    try:
        return sitk.ReadImage(str(path), imageIO="NrrdImageIO")
    except RuntimeError as error:
        raise InputError(f"{path.name} cannot be read; save the segmentation again") from error


def _array(image: sitk.Image) -> np.ndarray:
    """(z, y, x, layers)."""
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    if image.GetDimension() != 3:
        raise InputError("a segmentation has three axes and its layers")
    return array if image.GetNumberOfComponentsPerPixel() > 1 else array[..., None]


def _segments(image: sitk.Image) -> list[Segment]:
    keys = (re.fullmatch(r"Segment(\d+)_ID", key) for key in image.GetMetaDataKeys())
    numbers = sorted(int(found[1]) for found in keys if found)
    return [Segment(n, _value(image, n, "Name"), _code(_value(image, n, "Tags"))) for n in numbers]


def _code(tags: str) -> tuple[str, str] | None:
    """The type's code in `TerminologyEntry:context~category~type~...`, each `scheme^value^meaning`."""
    entry = re.search(r"TerminologyEntry:([^|]*)", tags)
    parts = entry[1].split("~") if entry else []
    words = parts[2].split("^") if len(parts) > 2 else []
    return (words[0], words[1]) if len(words) > 1 and words[1] else None


def _place(image: sitk.Image, number: int) -> tuple[int, int]:
    """Layer and label value; files before Slicer 4.11 have a layer for each segment and the value 1."""
    layer, value = _value(image, number, "Layer"), _value(image, number, "LabelValue")
    return int(layer or number), int(value or 1)


def _value(image: sitk.Image, number: int, name: str) -> str:
    key = f"Segment{number}_{name}"
    return str(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""
