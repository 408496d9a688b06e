"""Owns what a worker may say: names that come with the input never reach status, events or log.

Paths of patients' scans carry names. Messages of the library name files, so that a user can act; here the
names become "<input>", "<manifest>" or "<row 3>", which the user can look up and nobody else can.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from PESemiSegLib.errors import InputError
from PESemiSegLib.table import read_table, read_text

_MAX_FILES = 200_000  # of one folder; names of folders are never left out, and `_SCAN` knows most of the rest
_SHORTEST = 3  # shorter names would blot out ordinary words: they count as parts of paths and in quotes
_SHORTEST_NUMBER = 6  # the same of names without a letter, such as 031 or 2.5, which may be any figure
_COMMON = frozenset(
    {
        *("data", "home", "user", "users", "work", "tmp", "var", "mnt", "media", "root", "share"),
        *("image", "images", "mask", "masks", "scan", "scans", "label", "labels", "lesions", "clot"),
        *("series", "slice", "volume", "dicom", "input", "segmentation", "confidence"),
    }
)
_OWN = frozenset(  # what the program's sentences say; written otherwise, Val say, it is a name
    {
        *("labelled", "unlabelled", "excluded", "train", "training", "val", "validation", "test", "split"),
        *("manifest", "cohort", "cohorts", "site", "case", "cases", "patient", "patients", "scans", "crops"),
        *("model", "models", "base", "before", "after", "adapted", "demo", "new", "run", "job", "jobs"),
        *("result", "results", "evaluation", "report", "verdict", "cache", "pesemiseg"),
        *("embolus", "emboli", "arteries", "opacities", "lung", "lungs", "plain", "contrast"),
    }
)
_A_FILE = "<a file of the input>"
_OF_A_PACKAGE = "model.json"  # a model's own files are nobody's scans, and "model" is an ordinary word
_EXTENSION = re.compile(r"(?:\.seg)?\.(?:dcm|ima|nii(?:\.gz)?|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
_SCAN = re.compile(r"[^\s/\\'\"<>|:;,()]+\.(?:dcm|ima|nii(?:\.gz)?|nrrd|nhdr|mha|mhd)(?!\w)", re.IGNORECASE)
_COLUMNS = ("patient", "image", "mask", "lesions")


class Redactor:
    """Replaces every name that a job's parameters bring along, and what looks like the file of a scan.

    Args:
        params: of the job. Values that are absolute paths count, in lists too; so does what lies in a folder
            among them, the cells of a manifest or list of scans, and what lies in the folders that they name.
        keep: folders whose paths may be named: the job's own.
    """

    def __init__(self, params: Mapping[str, Any], keep: tuple[Path, ...] = ()) -> None:
        self._paths = [
            (key, path) for key, path in _paths(params) if not any(path.is_relative_to(k) for k in keep)
        ]

    def __call__(self, text: str) -> str:
        """The text without those names."""
        if not self._paths:
            return text
        found = [item for word in set(_words(text)) for item in self._names.get(word, ())]
        for name, label in sorted(found, key=lambda item: len(item[0]), reverse=True):
            if name in text:
                text = re.sub(_pattern(name), label.replace("\\", r"\\"), text)
        return _SCAN.sub(lambda token: token[0] if _is_common(token[0]) else _A_FILE, text)

    @cached_property
    def _names(self) -> dict[str, list[tuple[str, str]]]:
        """(name, label) by the longest word of the name, which a text must hold; gathered when one comes."""
        found: dict[str, str] = {}
        for key, path in self._paths:
            for name in _of_path(path):
                found.setdefault(name, f"<{key}>")
            for name, label in _inside(path):
                found.setdefault(name, label)
        index: dict[str, list[tuple[str, str]]] = {}
        for name, label in found.items():
            if (words := _words(name)) and not _is_common(name):
                index.setdefault(max(words, key=len), []).append((name, label))
        return index


class RedactedStream:
    """A text stream whose lines pass a redactor. A disk that refuses a line loses the line, not the job."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream, self._redactor, self._line = stream, redactor, ""

    def write(self, text: str) -> int:
        """Pass on what makes whole lines, keep the rest for later."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._put(line + "\n")
        return len(text)

    def flush(self) -> None:
        """Pass on an unfinished line as well."""
        if self._line:
            self._put(self._line)
            self._line = ""

    def _put(self, text: str) -> None:
        try:
            self._stream.write(self._redactor(text))
            self._stream.flush()
        except OSError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _paths(value: Any, key: str = "input") -> Iterator[tuple[str, Path]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _paths(item, str(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _paths(item, key)
    elif isinstance(value, str) and os.path.isabs(value):
        yield key, Path(value)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _pattern(name: str) -> str:
    """Matches the name as a whole; a short one, or a short number, only where it must be a name."""
    text = re.escape(name)
    if len(name) >= (_SHORTEST if re.search(r"[^\W\d_]", name) else _SHORTEST_NUMBER):
        return rf"(?<!\w){text}(?!\w)"
    return rf"(?<=[/\\]){text}(?!\w)|(?<!\w){text}(?=[/\\])|(?<=['\"]){text}(?=['\"])"


def _is_common(name: str) -> bool:
    """Whether a name says nothing of a patient: mask.nii.gz, or the home folder."""
    bare = _EXTENSION.sub("", name)
    return bare in _OWN or bare.lower() in _COMMON


def _of_path(path: Path) -> Iterator[str]:
    """The path as one name, and every part of it."""
    yield str(path)
    for part in (path, *path.parents):
        yield from _of_name(part.name)


def _of_name(name: str) -> Iterator[str]:
    """A file's name, and what is left of it as the name of a patient."""
    yield name
    yield _EXTENSION.sub("", name)
    yield name.split(".")[0]


def _inside(path: Path) -> Iterator[tuple[str, str]]:
    """What lies in an input folder; the names in a table, by row."""
    if path.is_dir() and not (path / _OF_A_PACKAGE).is_file():
        for name in _of_folder(path):
            yield name, _A_FILE
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        for row, cell in _cells(path):
            for name in _of_cell(cell, path.parent):
                yield name, f"<row {row}>"


def _of_folder(folder: Path) -> Iterator[str]:
    seen = 0
    for _, folders, files in os.walk(folder):
        yield from folders
        seen += len(files)
        if seen <= _MAX_FILES:
            for name in files:
                yield from _of_name(name)


def _cells(path: Path) -> Iterator[tuple[int, str]]:
    """The row, counted as a spreadsheet does, and the cell, of all that may be a name or path."""
    try:
        header, rows = read_table(path, (*_COLUMNS, "site", "role", "split"))
        if set(header) & set(_COLUMNS):
            yield from ((row.number, row.cells.get(name, "")) for row in rows for name in _COLUMNS)
            return
    except InputError:
        pass  # not quite a table: its lines then
    try:
        lines = read_text(path).splitlines()
    except InputError:
        return
    for number, line in enumerate(lines, start=1):
        yield from ((number, cell.strip().strip('"')) for cell in (line, *re.split("[,;\t]", line)))


def _of_cell(cell: str, folder: Path) -> Iterator[str]:
    """A patient, or a path relative to the table, maybe as Windows writes it, and what lies in it."""
    if not cell:
        return
    yield cell
    path = Path(os.path.normpath(folder / cell.replace("\\", "/")))
    yield from _of_path(path)
    if path.is_dir():
        yield from _of_folder(path)
