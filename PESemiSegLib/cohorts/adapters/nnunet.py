"""The layout of nnU-Net v2 and of the Medical Segmentation Decathlon: imagesTr, labelsTr, dataset.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from PESemiSegLib.cohorts.adapters.base import Entry, child, image_files, need, stem
from PESemiSegLib.cohorts.labelmap import file_mask
from PESemiSegLib.cohorts.marked import MaskReader
from PESemiSegLib.cohorts.segment_choice import called_embolus
from PESemiSegLib.errors import InputError


class NnUNet:
    """`imagesTr/CASE_0000.nii.gz` (nnU-Net, one channel) or `imagesTr/CASE.nii.gz`, with `labelsTr/CASE...`.

    imagesTs become unlabelled, unless labelsTs has their masks. Where `dataset.json` names several labels,
    the one called embolus, PE, clot or thrombus counts. The case names are taken for patients.
    """

    name = "nnunet"
    title = "nnU-Net / Decathlon"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return child(folder, "imagesTr") is not None

    def entries(self, folder: Path) -> Iterator[Entry]:
        need(child(folder, "imagesTr"), folder, "imagesTr")
        value = _label_value(folder / "dataset.json")
        images = {part: _files(folder, f"images{part}") for part in ("Tr", "Ts")}
        masks = {part: {stem(path): path for path in _files(folder, f"labels{part}")} for part in images}
        if not any(images.values()):
            raise InputError(f"{folder.name} holds no images in imagesTr.")
        drawn = {name for part in masks.values() for name in part}
        # where masks are called as images are, four digits at the end are a case's, in imagesTs as well
        plain = any(stem(path) in drawn for part in images.values() for path in part)
        for part, files in images.items():
            for case, channels in _cases(files, drawn, plain=plain).items():
                mask = masks[part].get(case)
                lost = part == "Tr" and mask is None and child(folder, "labelsTr") is not None
                problem = f"{len(channels)} channels; a CT has one" if len(channels) > 1 else ""
                yield Entry(
                    case,
                    channels[0],
                    _mask(mask, value) if mask else None,
                    notes=(f"no mask in labels{part}",) if lost else (),
                    problem=problem,
                )


def _files(folder: Path, name: str) -> list[Path]:
    """The image files of a sub-folder, if it is there."""
    found = child(folder, name)
    return image_files(found) if found else []


def _cases(files: list[Path], drawn: set[str], *, plain: bool) -> dict[str, list[Path]]:
    """Case -> its channels. drawn: the masks' names. plain: names carry no channel.

    Else they do (_0000) where all of the folder end in one, and each case has a mask or its first channel.
    """
    names = {stem(path) for path in files}
    channelled = not plain and all(
        re.search(r"_\d{4}$", name) and (name[:-5] in drawn or f"{name[:-5]}_0000" in names) for name in names
    )
    cases: dict[str, list[Path]] = {}
    for path in files:
        cases.setdefault(stem(path)[:-5] if channelled else stem(path), []).append(path)
    return cases


def _mask(path: Path, value: int | None) -> Path | MaskReader:
    return path if value is None else file_mask(path, value=value, dtype=np.uint8)


def _label_value(path: Path) -> int | None:
    """The value of emboli where there are several labels; None where everything marked counts."""
    if not path.is_file():
        return None
    try:
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [(k, v) if not str(k).isdigit() else (v, k) for k, v in labels.items()]  # both ways exist
        values = {str(name): int(v) for name, v in pairs if not isinstance(v, list) and int(v) > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path.name} is not that of nnU-Net; mend it or remove it.") from error
    if len(values) <= 1:
        return None
    named = [value for name, value in values.items() if called_embolus(name)]
    if len(named) != 1:
        names = ", ".join(values)
        raise InputError(f"{path.name} names the labels {names}; call the one for emboli 'embolus'.")
    return named[0]
