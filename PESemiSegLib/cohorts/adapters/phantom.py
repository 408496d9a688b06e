"""Made-up patients, as `pesemiseg phantom` writes them, each with the masks of its site's annotator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.cohorts.folders import from_phantom


class Phantom:
    """`A-s7-p0000/` with `ct/` or `ct.nii.gz`, `clot.nii.gz`, `lesions.nii.gz` and `recipe.json`.

    Scans without contrast (`A-s7-p0000-noncontrast/`) are left out, with the reason.
    """

    name = "phantom"
    title = "made-up patients"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return folder.is_dir() and next(folder.glob("*/recipe.json"), None) is not None

    def entries(self, folder: Path) -> Iterator[Entry]:
        for case in from_phantom(folder, validation=0.0):
            yield Entry(
                case.patient,
                case.image,
                case.mask,
                pe=case.pe,
                site=case.site,
                label_style=case.label_style,
                lesions=case.lesions,
                problem=case.problems[0] if case.role == "excluded" else "",
            )
