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
        empty = True
        for part in ("Tr", "Ts"):
            images = child(folder, f"images{part}")
            truths = child(folder, f"labels{part}")
            masks = {stem(path): path for path in image_files(truths)} if truths else {}
            for case, channels in _cases(images).items():
                empty = False
                mask = masks.get(case)
                lost = part == "Tr" and truths is not None and mask is None
                problem = f"{len(channels)} channels; a CT has one" if len(channels) > 1 else ""
                yield Entry(
                    case,
                    channels[0],
                    _mask(mask, value) if mask else None,
                    notes=(f"no mask in labels{part}",) if lost else (),
                    problem=problem,
                )
        if empty:
            raise InputError(f"{folder.name} holds no images in imagesTr.")


def _cases(images: Path | None) -> dict[str, list[Path]]:
    """Case -> its channels. Names carry a channel (_0000) only where all of the folder's do."""
    files = image_files(images) if images else []
    channelled = bool(files) and all(re.search(r"_\d{4}$", stem(path)) for path in files)
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
