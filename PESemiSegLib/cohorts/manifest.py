"""The manifest: which scans a cohort holds, whose they are, how they are split; a CSV that one can edit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from PESemiSegLib.errors import InputError
from PESemiSegLib.table import Row, read_table, write_table
from PESemiSegLib.volumes.segments import LABELS

ROLES = ("labelled", "unlabelled", "excluded")
SPLITS = ("train", "val", "test")
_NEEDED = ("patient", "site", "image", "role", "split")
_PATHS = ("image", "mask", "lesions")
_MOST = 25  # problems in one message; `ManifestError.problems` has all
_MEANT = {
    "role": {"labeled": "labelled", "unlabeled": "unlabelled"},
    "split": {"training": "train", "validation": "val", "testing": "test"},
    "pe": {"1": "yes", "true": "yes", "0": "no", "false": "no"},
    "marks": {"": "emboli"},
}


class ManifestError(InputError):
    """A manifest with problems; `problems` lists every one of them, row by row."""

    def __init__(self, name: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        shown, more = self.problems[:_MOST], len(self.problems) - _MOST
        rest = f"; and {more} more (`pesemiseg cohort check` lists them)" if more > 0 else ""
        count = len(self.problems)
        super().__init__(f"The manifest {name} has {count} problem(s): " + "; ".join(shown) + rest)


@dataclass(frozen=True)
class Case:
    """One scan.

    lesions: an optional image, one integer per embolus (else components of `mask` count). pe: "yes", "no", or
    empty where it is not known. problems: what a reader of the manifest should know; they exclude nothing.
    marks: what the mask marks, one of `segments.LABELS`.
    """

    patient: str
    site: str
    image: Path
    mask: Path | None = None
    role: str = "labelled"
    split: str = "train"
    label_style: str = ""
    lesions: Path | None = None
    fingerprint: str = ""
    problems: tuple[str, ...] = ()
    pe: str = ""
    marks: str = "emboli"

    @property
    def key(self) -> str:
        """Site and patient: what must stay within one split."""
        return f"{self.site}/{self.patient}"


@dataclass(frozen=True)
class Manifest:
    """An ordered list of cases that has been checked: no leak between splits, no scan under two patients."""

    cases: tuple[Case, ...]
    source_name: str = field(default="manifest", compare=False)

    def __post_init__(self) -> None:
        _refuse(self.source_name, _problems_between(self.cases, range(2, len(self.cases) + 2)))

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def select(self, split: str | None = None, role: str | None = None, site: str | None = None) -> Manifest:
        """The cases of a split, a role, a site; excluded ones only when asked for by name."""
        wanted = tuple(
            case
            for case in self.cases
            if (split is None or case.split == split)
            and (site is None or case.site == site)
            and (case.role == role if role is not None else case.role != "excluded")
        )
        return Manifest(wanted, self.source_name)

    def require_marks(self, marks: str) -> None:
        """Raise InputError where the mask of a labelled case marks something else, see `Case.marks`."""
        others = [case.marks for case in self.select(role="labelled") if case.marks != marks]
        if others:
            raise InputError(
                f"The manifest {self.source_name} has {len(others)} labelled case(s) whose masks mark "
                f"{' and '.join(sorted(set(others)))}, and masks of {marks} are needed; choose a model of "
                "their kind, or correct the column 'marks'."
            )

    @property
    def fingerprint(self) -> str:
        """One hash for the data behind the manifest: sites, splits, roles and the contents of the scans."""
        lines = sorted(
            f"{c.key}|{c.role}|{c.split}|{c.label_style}|{c.fingerprint}"
            + ("" if c.marks == "emboli" else f"|{c.marks}")  # as before there were others
            for c in self.cases
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Patients per `site/split/role`."""
        groups: dict[str, set[str]] = {}
        for case in self.cases:
            groups.setdefault(f"{case.site}/{case.split}/{case.role}", set()).add(case.patient)
        return {name: len(patients) for name, patients in sorted(groups.items())}

    def merged(self, other: Manifest) -> Manifest:
        """Both cohorts in one; checked again, so that a patient in two splits is found."""
        return Manifest(self.cases + other.cases, f"{self.source_name}+{other.source_name}")


def read_manifest(path: Path | str) -> Manifest:
    """Read and check a manifest; relative paths are relative to its folder.

    Columns in any order; comma, semicolon or tab; empty rows are skipped, unknown columns left alone.

    Raises ManifestError, an InputError, that lists every problem of every row at once.
    """
    path = Path(path)
    names = [entry.name for entry in fields(Case)]
    header, rows = read_table(path, names, "manifest")
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise InputError(f"The manifest {path.name} lacks the column(s) {', '.join(missing)}; add them.")
    twice = sorted({name for name in names if header.count(name) > 1})
    problems = [f"the column {name} is there twice" for name in twice]
    cases: list[Case] = []
    for row in rows:
        case, wrong = _parse(row, path.parent)
        problems += [f"row {row.number}: {text}" for text in wrong]
        cases.append(case)
    if not rows:
        problems.append("no case at all")
    _refuse(path.name, problems + _problems_between(cases, [row.number for row in rows]))
    return Manifest(tuple(cases), path.name)


def write_manifest(manifest: Manifest | Iterable[Case], path: Path | str) -> None:
    """Write the CSV, paths relative to its folder (on the same drive); aside first, then moved."""
    path = Path(path)
    names = [entry.name for entry in fields(Case)]
    rows = []
    for case in manifest:
        row: dict[str, object] = {name: getattr(case, name) for name in names}
        row |= {name: _relative(getattr(case, name), path.parent) for name in _PATHS}
        rows.append(row | {"problems": "; ".join(text.replace(";", ",") for text in case.problems)})
    write_table(path, names, rows, "manifest")


def meant(column: str, cell: str) -> str:
    """A word of the columns role, split, pe or marks as it is written here: `TRUE` is the pe `yes`."""
    return _MEANT[column].get(cell.lower(), cell.lower())


def _parse(row: Row, folder: Path) -> tuple[Case, list[str]]:
    value = {name: row.cells.get(name, "") for name in (entry.name for entry in fields(Case))}
    value |= {name: meant(name, value[name]) for name in _MEANT}
    paths = {name: _path(value[name], folder) if value[name] else None for name in _PATHS}
    wrong = [f"{name} is empty" for name in ("patient", "site", "image") if not value[name]]
    known = {"role": ROLES, "split": SPLITS, "pe": ("", "yes", "no"), "marks": tuple(LABELS)}
    for name, allowed in known.items():
        if value[name] not in allowed:
            wrong.append(f"{name} '{value[name]}' is not one of {', '.join(filter(None, allowed))}")
    if row.surplus:
        wrong.append(f"{row.surplus} cell(s) beyond the last column; quote cells that hold the separator")
    if value["role"] == "labelled" and not value["mask"]:
        wrong.append("labelled, but no mask is given")
    if value["role"] != "excluded":
        wrong += [f"{name} {p.name} is not there" for name, p in paths.items() if p and not os.path.exists(p)]
    if paths["mask"] and paths["mask"] == paths["image"]:
        wrong.append("the mask is the image itself")
    case = Case(
        patient=value["patient"],
        site=value["site"],
        image=paths["image"] or folder,
        mask=paths["mask"],
        role=value["role"],
        split=value["split"],
        label_style=value["label_style"],
        lesions=paths["lesions"],
        fingerprint=value["fingerprint"],
        problems=tuple(text.strip() for text in value["problems"].split(";") if text.strip()),
        pe=value["pe"],
        marks=value["marks"],
    )
    return case, wrong


def _path(value: str, folder: Path) -> Path:
    """A cell as a path; one that was written on Windows is understood elsewhere too."""
    path = folder / value
    return folder / value.replace("\\", "/") if "\\" in value and not os.path.exists(path) else path


def _problems_between(cases: Iterable[Case], numbers: Sequence[int]) -> list[str]:
    """Leaks and duplicates, which no single row can show; told by CSV row, not by patient."""
    patients: dict[str, list[int]] = {}
    images: dict[str, list[int]] = {}
    masks: dict[str, list[int]] = {}
    prints: dict[str, list[int]] = {}
    split = {}
    for row, case in zip(numbers, cases, strict=True):
        if case.role == "excluded":
            continue
        split[row] = case.split
        patients.setdefault(case.key, []).append(row)
        images.setdefault(os.path.normpath(case.image), []).append(row)
        if case.mask:
            masks.setdefault(os.path.normpath(case.mask), []).append(row)
        if case.fingerprint:
            prints.setdefault(case.fingerprint, []).append(row)
    wrong = []
    for rows in patients.values():
        splits = sorted({split[row] for row in rows})
        if len(splits) > 1:
            wrong.append(f"rows {_listed(rows)}: one patient is in the splits {', '.join(splits)}")
    repeated = [rows for rows in images.values() if len(rows) > 1]
    wrong += [f"rows {_listed(rows)}: the same image" for rows in repeated]
    wrong += [f"rows {_listed(rows)}: the same mask" for rows in masks.values() if len(rows) > 1]
    copies = [rows for rows in prints.values() if len(rows) > 1 and rows not in repeated]
    return wrong + [f"rows {_listed(rows)}: copies of the same scan" for rows in copies]


def _listed(rows: list[int]) -> str:
    return ", ".join(map(str, rows))


def _refuse(name: str, problems: list[str]) -> None:
    if problems:
        raise ManifestError(name, problems)


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    there = os.path.join(os.path.realpath(path.parent), path.name)  # ".." of a link is not what it looks
    try:
        return Path(os.path.relpath(there, os.path.realpath(folder))).as_posix()
    except ValueError:  # another drive on Windows
        return str(path)
