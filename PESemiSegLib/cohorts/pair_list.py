"""Owns lists of pairs: which contrast scan and which plain scan are of one patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from os.path import normpath
from pathlib import Path

from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import SPLITS, Case, meant, read_manifest
from PESemiSegLib.cohorts.phases import Pair, phase_pairs
from PESemiSegLib.errors import InputError
from PESemiSegLib.table import Row, read_table

_COLUMNS = ("patient", "site", "contrast", "plain", "mask", "pe", "split")
_FILES = ("contrast", "plain", "mask")
_NEEDED = ("patient", "contrast", "plain")
_SITE = "pairs"  # where the list names none
_MOST = 10  # problems in one message


def read_pairs(source: Path) -> list[Pair]:
    """The pairs of a table, of a manifest, or of a folder that `pesemiseg phantom --noncontrast` wrote.

    The table is a CSV with the columns patient, contrast and plain (scans of that patient), and where it is
    known site, mask (drawn on the contrast scan), pe (yes or no) and split; paths are relative to it.

    Raises InputError, in one line, for what is not there or marks no emboli; of a table every problem of
    every row.
    """
    if source.is_dir():
        pairs = phase_pairs(from_phantom(source, validation=0.0))
    else:
        header, rows = read_table(source, _COLUMNS, "list of pairs")
        if "plain" in header:
            missing = [name for name in _NEEDED if name not in header]
            if missing:
                raise InputError(f"The list of pairs {source.name} lacks the column(s) {', '.join(missing)}.")
            pairs = _pairs(rows, source)
        else:
            cohort = read_manifest(source)
            cohort.require_marks("emboli")
            pairs = phase_pairs(cohort)
    if not pairs:
        raise InputError(f"{source.name} holds no patient with a contrast scan and a plain one.")
    return pairs


def _pairs(rows: list[Row], table: Path) -> list[Pair]:
    """The pairs of all rows; registering takes long, so nothing is left to be found wrong after it."""
    wrong = [f"row {row.number}: {text}" for row in rows for text in _problems(row, table.parent)]
    wrong += _repeated(rows)
    if wrong:
        rest = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        raise InputError(
            f"The list of pairs {table.name} has {len(wrong)} problem(s): {'; '.join(wrong[:_MOST])}{rest}"
        )
    return [_pair(row, table.parent) for row in rows]


def _pair(row: Row, folder: Path) -> Pair:
    told = {name: row.cells.get(name, "") for name in _COLUMNS}
    pe, mask = meant("pe", told["pe"]), folder / told["mask"] if told["mask"] else None
    contrast = Case(
        patient=told["patient"],
        site=told["site"] or _SITE,
        image=folder / told["contrast"],
        mask=mask,
        role="labelled" if mask or pe == "no" else "unlabelled",  # without PE there is nothing to draw
        split=meant("split", told["split"]) or "train",
        pe=pe,
    )
    return contrast, replace(contrast, image=folder / told["plain"], mask=None)


def _problems(row: Row, folder: Path) -> Iterator[str]:
    told = {name: row.cells.get(name, "") for name in _COLUMNS}
    for name in _NEEDED:
        if not told[name]:
            yield f"{name} is empty"
    for name in _FILES:
        if told[name] and not (folder / told[name]).exists():
            yield f"{name} {Path(told[name]).name} is not there"
    if told["contrast"] and told["contrast"] == told["plain"]:
        yield "contrast and plain are one scan"
    for name, allowed in (("pe", ("yes", "no")), ("split", SPLITS)):
        if told[name] and meant(name, told[name]) not in allowed:
            yield f"{name} '{told[name]}' is not one of {', '.join(allowed)}"
    if row.surplus:
        yield f"{row.surplus} cell(s) beyond the last column; quote cells that hold the separator"


def _repeated(rows: list[Row]) -> list[str]:
    """What stands in several rows and may not; told by row, not by patient."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in rows:
        if patient := row.cells.get("patient"):
            found["one patient; give one pair of each", row.cells.get("site") or _SITE, patient].append(
                row.number
            )
        for file in sorted({normpath(row.cells[name]) for name in _FILES if row.cells.get(name)}):
            found["the same file", file].append(row.number)
    return [
        f"rows {', '.join(map(str, numbers))}: {what[0]}"
        for what, numbers in found.items()
        if len(numbers) > 1
    ]
