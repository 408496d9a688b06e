"""The manifest: which scans a cohort holds, whose they are, how they are split; a CSV that one can edit."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from PESemiSegLib.errors import InputError, OutputError

ROLES = ("labelled", "unlabelled", "excluded")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One scan. `lesions`: an optional image, one integer per embolus (else components of `mask` count)."""

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
        _refuse(self.source_name, _problems_between(self.cases))

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

    @property
    def fingerprint(self) -> str:
        """One hash for the data behind the manifest: sites, splits, roles and the contents of the scans."""
        lines = sorted(f"{c.key}|{c.role}|{c.split}|{c.label_style}|{c.fingerprint}" for c in self.cases)
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

    Raises InputError that lists every problem of every row at once.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = tuple(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The manifest {path.name} cannot be read as CSV: {error}") from error
    missing = [name for name in ("patient", "site", "image", "role", "split") if name not in header]
    if missing:
        raise InputError(f"The manifest {path.name} lacks the column(s) {', '.join(missing)}; add them.")
    problems: list[str] = []
    cases: list[Case] = []
    for number, row in enumerate(rows, start=2):
        case, wrong = _parse(row, path.parent)
        problems += [f"row {number}: {text}" for text in wrong]
        cases.append(case)
    if not rows:
        problems.append("no case at all")
    _refuse(path.name, problems + _problems_between(cases))
    return Manifest(tuple(cases), path.name)


def write_manifest(manifest: Manifest | Iterable[Case], path: Path | str) -> None:
    """Write the CSV, paths relative to its folder (on the same drive); aside first, then moved."""
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    names = [entry.name for entry in fields(Case)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for case in manifest:
                row: dict[str, object] = {name: getattr(case, name) for name in names}
                for name in ("image", "mask", "lesions"):
                    row[name] = _relative(getattr(case, name), path.parent)
                writer.writerow(row | {"problems": "; ".join(case.problems)})
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(f"The manifest {path.name} cannot be written: {error.strerror}") from error


def fingerprint_of(path: Path) -> str:
    """SHA-256 (16 hex digits) of a file's bytes, or of a folder's files whatever their names and order."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]


def with_fingerprints(manifest: Manifest) -> Manifest:
    """The manifest with missing fingerprints filled in (reads every byte), checked for duplicates."""
    cases = [c if c.fingerprint else replace(c, fingerprint=fingerprint_of(c.image)) for c in manifest]
    return Manifest(tuple(cases), manifest.source_name)


def _parse(row: dict[str, str | None], folder: Path) -> tuple[Case, list[str]]:
    value = {name: (row.get(name) or "").strip() for name in (entry.name for entry in fields(Case))}
    paths = {name: (folder / value[name] if value[name] else None) for name in ("image", "mask", "lesions")}
    wrong = [f"{name} is empty" for name in ("patient", "site", "image") if not value[name]]
    if value["role"] not in ROLES:
        wrong.append(f"role '{value['role']}' is not one of {', '.join(ROLES)}")
    if value["split"] not in SPLITS:
        wrong.append(f"split '{value['split']}' is not one of {', '.join(SPLITS)}")
    if value["role"] == "labelled" and not value["mask"]:
        wrong.append("labelled, but no mask is given")
    if value["role"] != "excluded":
        wrong += [
            f"{name} {p.name} is not there" for name, p in paths.items() if p is not None and not p.exists()
        ]
    problems = tuple(text for text in value["problems"].split("; ") if text)
    return (
        Case(
            patient=value["patient"],
            site=value["site"],
            image=paths["image"] or folder,
            mask=paths["mask"],
            role=value["role"],
            split=value["split"],
            label_style=value["label_style"],
            lesions=paths["lesions"],
            fingerprint=value["fingerprint"],
            problems=problems,
        ),
        wrong,
    )


def _problems_between(cases: Iterable[Case]) -> list[str]:
    """Leaks and duplicates, which no single row can show; told by CSV row, not by patient."""
    patients: dict[str, list[int]] = {}
    images: dict[Path, list[int]] = {}
    prints: dict[str, list[int]] = {}
    cases = list(cases)
    for row, case in enumerate(cases, start=2):
        if case.role == "excluded":
            continue
        patients.setdefault(case.key, []).append(row)
        images.setdefault(case.image, []).append(row)
        if case.fingerprint:
            prints.setdefault(case.fingerprint, []).append(row)
    wrong = []
    for rows in patients.values():
        splits = sorted({cases[row - 2].split for row in rows})
        if len(splits) > 1:
            wrong.append(f"rows {_listed(rows)}: one patient is in the splits {', '.join(splits)}")
    repeated = [rows for rows in images.values() if len(rows) > 1]
    wrong += [f"rows {_listed(rows)}: the same image" for rows in repeated]
    copies = [rows for rows in prints.values() if len(rows) > 1 and rows not in repeated]
    return wrong + [f"rows {_listed(rows)}: copies of the same scan" for rows in copies]


def _listed(rows: list[int]) -> str:
    return ", ".join(map(str, rows))


def _refuse(name: str, problems: list[str]) -> None:
    if problems:
        raise InputError(f"The manifest {name} has {len(problems)} problem(s): " + "; ".join(problems))


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return str(path)
