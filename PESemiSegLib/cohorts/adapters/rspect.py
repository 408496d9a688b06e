"""RSPECT (RSNA-STR 2020): DICOM studies with labels per study and per image, no masks; an unlabelled pool."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry
from PESemiSegLib.errors import InputError

_NOTES = {
    "indeterminate": "indeterminate exam",
    "qa_motion": "motion artefacts",
    "qa_contrast": "poor contrast",
    "flow_artifact": "flow artefact",
    "true_filling_defect_not_pe": "a filling defect that is no PE",
}


class Rspect:
    """`train.csv` and `train/STUDY/SERIES/IMAGE.dcm`; one study is one patient.

    There are no masks, so every study is unlabelled. What `train.csv` says becomes the column `pe` (any image
    with pe_present_on_image) and notes on quality, by which one can choose.
    """

    name = "rspect"
    title = "RSPECT"
    site = "RSPECT"
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return (folder / "train.csv").is_file() and bool(_header(folder) >= {"pe_present_on_image"})

    def entries(self, folder: Path) -> Iterator[Entry]:
        studies = _studies(folder / "train.csv")
        root = folder / "train" if (folder / "train").is_dir() else folder
        there = False
        for (study, series), (pe, notes) in sorted(studies.items()):
            image = root / study / series
            if not image.is_dir():
                continue  # a part of the data set, as most people keep it
            there = True
            yield Entry(study, image, pe=pe, notes=notes)
        if not there:
            raise InputError(f"{folder.name} holds none of the studies that train.csv names.")


def _header(folder: Path) -> set[str]:
    try:
        with (folder / "train.csv").open(encoding="utf-8-sig", newline="") as file:
            return set(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError):
        return set()


def _studies(path: Path) -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Study and series -> (pe, notes); read row by row, for the table has 1.8 million."""
    positive: set[tuple[str, str]] = set()
    marks: dict[tuple[str, str], set[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            for row in rows:
                key = (row["StudyInstanceUID"], row["SeriesInstanceUID"])
                if not all(key) or row["pe_present_on_image"] is None:  # what is missing would make a "no"
                    line = rows.line_num
                    raise InputError(f"{path.name} is cut off in line {line}; download it again.")
                marks.setdefault(key, set()).update(name for name in _NOTES if row.get(name) == "1")
                if row["pe_present_on_image"] == "1":
                    positive.add(key)
    except OSError as error:
        raise InputError(f"{path.name} of RSPECT cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(f"{path.name} is not the table of RSPECT; download it again ({error}).") from error
    result = {}
    for key, names in marks.items():
        pe = "yes" if key in positive else "" if "indeterminate" in names else "no"
        result[key] = (pe, tuple(text for name, text in _NOTES.items() if name in names))
    return result
