"""CAD-PE (IEEE DataPort 10.21227/9bw7-6823): 91 NRRD scans, masks whose values number the clots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.adapters.base import Entry, child, image_files, need, stem
from PESemiSegLib.cohorts.labelmap import file_mask
from PESemiSegLib.errors import InputError


class CadPe:
    """`images/001.nrrd` and `rs/0001RefStd.nrrd`: the numbers have three digits here and four there.

    Mask values 1, 2, ... are the clots one by one. Scans of the challenge's test set (`e....`) have no masks
    in public; they become unlabelled.
    """

    name = "cad_pe"
    title = "CAD-PE"
    site = "CAD-PE"
    label_style = "cad-pe"

    def recognises(self, folder: Path) -> bool:
        truths, images = child(folder, "rs"), child(folder, "images", "image")
        if truths is None or images is None:
            return False
        return any("refstd" in path.name.lower() for path in image_files(truths))

    def entries(self, folder: Path) -> Iterator[Entry]:
        images = need(child(folder, "images", "image"), folder, "images")
        truths = need(child(folder, "rs"), folder, "rs")
        masks = {_number(path): path for path in image_files(truths)}
        scans = image_files(images)
        if not scans:
            raise InputError(f"{images.name} holds no scan; unpack the data set again.")
        for scan in scans:
            mask = masks.get(_number(scan))
            yield Entry(
                f"CADPE{stem(scan)}",
                scan,
                file_mask(mask, by_index=True, dtype=np.int16) if mask else None,
                instances=True,
                notes=() if mask else ("no reference standard for this scan",),
            )


def _number(path: Path) -> str:
    """`001` and `0001RefStd` are scan 1; `e0012` is a test scan of its own."""
    found = re.match(r"([a-z]*)0*(\d+)", path.name.lower())
    return f"{found[1]}{found[2]}" if found else path.name.lower()
