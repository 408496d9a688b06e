"""A list of scans: one path a line, or a table with the columns image, mask, patient, site."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PESemiSegLib.cohorts.adapters.base import Entry, stem
from PESemiSegLib.cohorts.adapters.persons import joined
from PESemiSegLib.cohorts.adapters.seg_nrrd import mask_reader as read_seg_nrrd
from PESemiSegLib.cohorts.manifest import meant
from PESemiSegLib.errors import InputError
from PESemiSegLib.table import read_table, read_text
from PESemiSegLib.volumes.segments import LABELS

_COLUMNS = ("image", "mask", "patient", "site", "label_style", "pe", "marks")


class PathList:
    """`list.txt` with a path on each line, or `list.csv` with a header; only `image` is needed.

    Paths are relative to the list. Without a column `patient`, the name of the file or folder is taken, or,
    for `ct.nii.gz` and the like, where the paths part (`p1` of `p1/study2/ct.nii.gz`); see also `joined`.
    """

    name = "list"
    title = "a list of scans"
    site = ""
    label_style = ""

    def recognises(self, folder: Path) -> bool:
        return folder.is_file() and folder.suffix.lower() in (".csv", ".tsv", ".txt")

    def entries(self, folder: Path) -> Iterator[Entry]:
        header, rows = read_table(folder, _COLUMNS, "list")
        if "image" in header:
            lines = [dict(row.cells) for row in rows]
        elif len(header) == 1:  # no header: the first line is a path too, and as it was written
            text = read_text(folder, "list")
            lines = [{"image": line.strip().strip('"')} for line in text.splitlines() if line.strip()]
        else:
            raise InputError(f"The list {folder.name} has no column 'image'; add a header.")
        if not lines:
            raise InputError(f"The list {folder.name} is empty.")
        images = [_path(line.get("image", ""), folder.parent) for line in lines]
        entries = []
        for line, image, name in zip(lines, images, _names(lines, images), strict=True):
            mask = _path(line["mask"], folder.parent) if line.get("mask") else None
            wrong = [f"{p.name} is not there" for p in (image, mask) if p is not None and not p.exists()]
            pe, marks = meant("pe", line.get("pe", "")), meant("marks", line.get("marks", ""))
            if marks not in LABELS:
                wrong.append(f"marks '{marks}' is not one of {', '.join(LABELS)}")
            slicer = mask is not None and mask.name.lower().endswith(".seg.nrrd")
            if slicer and marks != "emboli":
                wrong.append("of a .seg.nrrd emboli alone are read; export the others as a label map")
            entries.append(
                Entry(
                    patient=line.get("patient") or name,
                    image=image,
                    mask=read_seg_nrrd(mask) if mask and slicer else mask,
                    pe=pe if pe in ("yes", "no") else "",
                    notes=() if pe in ("", "yes", "no") else (f"pe '{pe}' is not one of yes, no",),
                    site=line.get("site", ""),
                    label_style=line.get("label_style", ""),
                    marks=marks if marks in LABELS else "emboli",
                    problem=wrong[0] if wrong else "" if line.get("image") else "image is empty",
                )
            )
        named = any(line.get("patient") for line in lines)
        yield from entries if named else joined(entries)


def _names(lines: Sequence[Mapping[str, str]], images: Sequence[Path]) -> list[str]:
    """Each image's own name; where two share one, the first part in which the paths of a site differ.

    The last folder alone would not do: `p1/study1` and `p1/study2` are one patient, `p2/study1` is another.
    """
    names = [image.name if image.is_dir() else stem(image) for image in images]
    places = [Path(os.path.abspath(image)) for image in images]
    if len(set(names)) == len(set(places)):
        return names
    sites = [line.get("site", "") for line in lines]
    common: dict[str, Path] = {}
    for line, site, place in zip(lines, sites, places, strict=True):
        if line.get("image") and place.exists():  # one that is not there may be anywhere
            before = common.get(site, place.parent)
            shared = (folder for folder in (before, *before.parents) if place.is_relative_to(folder))
            common[site] = next(shared, Path())  # nothing is shared by two drives
    depths = [len(common.get(site, Path()).parts) for site in sites]
    return [
        place.parts[depth] if depth < len(place.parts) - 1 else name
        for name, place, depth in zip(names, places, depths, strict=True)
    ]


def _path(text: str, folder: Path) -> Path:
    path = folder / text
    return folder / text.replace("\\", "/") if "\\" in text and not path.exists() else path
