"""Owns what a worker may say: names that come with the input never reach status, events or log.

Paths of patients' scans carry names. Messages of the library name files, so that a user can act; here the
names become "<input>", "<manifest>" or "<row 3>", which the user can look up and nobody else can.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

_MAX_NAMES = 20_000
_SHORTEST = 3  # shorter names would blot out ordinary words
_COMMON = frozenset({"data", "home", "user", "users", "work", "tmp", "var", "mnt", "media", "root", "share"})


class Redactor:
    """Replaces every name that a job's parameters bring along.

    Args:
        params: of the job. Values that are absolute paths count, in lists too; a CSV among them is a manifest
            whose cells count as well.
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
        for name, label in self._names:
            if name in text:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", label.replace("\\", r"\\"), text)
        return text

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        """(name, label), the longest names first; gathered when the first text comes."""
        found: dict[str, str] = {}
        for key, path in self._paths:
            for name in _of_path(path):
                found.setdefault(name, f"<{key}>")
            for name, label in _inside(path):
                found.setdefault(name, label)
        usable = (
            item for item in found.items() if len(item[0]) >= _SHORTEST and item[0].lower() not in _COMMON
        )
        return sorted(usable, key=lambda item: len(item[0]), reverse=True)[:_MAX_NAMES]


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


def _of_path(path: Path) -> Iterator[str]:
    """The path as one name, and every part of it."""
    yield str(path)
    for part in (path, *path.parents):
        if part.name:
            yield part.name
            yield part.name.split(".")[0]


def _inside(path: Path) -> Iterator[tuple[str, str]]:
    """The files of an input folder; the cells of a manifest, by row."""
    if path.is_dir():
        for number, (_, folders, files) in enumerate(os.walk(path)):
            for name in (*folders, *files):
                yield name, "<a file of the input>"
            if number > _MAX_NAMES:
                return
    elif path.suffix.lower() == ".csv":
        yield from _of_manifest(path)


def _of_manifest(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            for number, row in enumerate(csv.DictReader(handle), start=1):
                for column in ("patient", "image", "mask"):
                    cell = row.get(column) or ""
                    for name in _of_path(Path(cell)) if column != "patient" else [cell]:
                        yield name, f"<row {number}>"
    except (OSError, csv.Error):
        return
