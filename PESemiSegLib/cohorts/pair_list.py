"""Owns lists of pairs: which contrast scan and which plain scan are of one patient, and their manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.folders import NO_CONTRAST, from_phantom, phase_pairs
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest
from PESemiSegLib.errors import InputError
from PESemiSegLib.table import Row, read_table

Pair = tuple[Case, Case]
"""The contrast scan, with what is known of the patient, and the plain one."""

_COLUMNS = ("patient", "site", "contrast", "plain", "mask", "pe", "split")
_NEEDED = ("patient", "contrast", "plain")


def read_pairs(source: Path) -> list[Pair]:
    """The pairs of a table, of a manifest, or of a folder that `pesemiseg phantom --noncontrast` wrote.

    The table is a CSV with the columns patient, contrast and plain (scans of that patient), and where it is
    known site, mask (drawn on the contrast scan), pe (yes or no) and split; paths are relative to it.

    Raises InputError, in one line, for what is not there.
    """
    if source.is_dir():
        pairs = phase_pairs(from_phantom(source, validation=0.0))
    else:
        header, rows = read_table(source, _COLUMNS, "list of pairs")
        if "plain" in header:
            missing = [name for name in _NEEDED if name not in header]
            if missing:
                raise InputError(f"The list of pairs {source.name} lacks the column(s) {', '.join(missing)}.")
            pairs = [_pair(row, source) for row in rows]
        else:
            pairs = phase_pairs(read_manifest(source))
    if not pairs:
        raise InputError(f"{source.name} holds no patient with a contrast scan and a plain one.")
    return pairs


def pair_manifest(pairs: Iterable[Pair], name: str = "pairs") -> Manifest:
    """Both scans of each pair as `phase_pairs` finds them again: the plain one is in no cohort of CTPA."""
    cases: list[Case] = []
    for contrast, plain in pairs:
        known = replace(plain, role="excluded", mask=None, lesions=None, split=contrast.split, pe=contrast.pe)
        cases += [contrast, replace(known, problems=(NO_CONTRAST,))]
    return Manifest(tuple(cases), name)


def _pair(row: Row, table: Path) -> Pair:
    told = {name: row.cells.get(name, "") for name in _COLUMNS}
    where = f"{table.name}, row {row.number}"
    paths = {name: table.parent / told[name] for name in ("contrast", "plain", "mask") if told[name]}
    for name in _NEEDED:
        if not told[name]:
            raise InputError(f"{where}: {name} is empty.")
    for name, path in paths.items():
        if not path.exists():
            raise InputError(f"{where}: {name} {path.name} is not there.")
    mask = paths.get("mask")
    contrast = Case(
        patient=told["patient"],
        site=told["site"] or "pairs",
        image=paths["contrast"],
        mask=mask,
        role="labelled" if mask else "unlabelled",
        split=told["split"] or "train",
        pe=told["pe"],
    )
    return contrast, replace(contrast, image=paths["plain"], mask=None)
