"""Tables as spreadsheets save them: any of their separators, encodings and empty rows, read as plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PESemiSegLib.atomic import whole_file
from PESemiSegLib.errors import InputError, OutputError

_SEPARATORS = ",;\t"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True)
class Row:
    """One row: its number as a spreadsheet counts (the header is 1), its cells by column, cells too many."""

    number: int
    cells: Mapping[str, str]
    surplus: int = 0


def read_table(path: Path, known: Collection[str], what: str = "table") -> tuple[tuple[str, ...], list[Row]]:
    """The column names (lower case, spaces as underscores) and the rows that hold anything.

    known: names of columns that are understood; the separator (comma, semicolon, tab) under which most of
    them appear is taken. what: the name of such a table in messages.

    Raises InputError for a file that is no such text.
    """
    text = read_text(path, what).replace("\r\n", "\n").replace("\r", "\n")
    number, separator = 1, ""
    if text[:4].lower() == "sep=" and len(text) > 4:  # a line that some spreadsheets put before the header
        separator, text, number = text[4], text.partition("\n")[2], 2
    first = text.partition("\n")[0]
    names = {_name(column) for column in known}

    def fit(candidate: str) -> int:
        return len(names & {_name(cell) for cell in next(csv.reader([first], delimiter=candidate), [])})

    try:
        separator = separator or max(_SEPARATORS, key=fit)
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"The {what} {path.name} cannot be read as CSV: {error}") from error
    if not lines:
        return (), []
    header = tuple(_name(cell) for cell in lines[0])
    rows = []
    for n, line in enumerate(lines[1:], start=number + 1):
        cells = [cell.strip() for cell in line]
        if any(cells):
            surplus = sum(map(bool, cells[len(header) :]))
            rows.append(Row(n, dict(zip(header, cells, strict=False)), surplus))
    return header, rows


def write_table(path: Path, names: Iterable[str], rows: Iterable[Mapping[str, object]], what: str) -> None:
    """Write a CSV with a header, aside first and then moved. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(names))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise OutputError(f"The {what} {path.name} cannot be written: {error.strerror}") from error


def read_text(path: Path, what: str = "table") -> str:
    """The text of a file in whichever encoding a spreadsheet gave it; InputError where it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The {what} {path.name} cannot be read: {error.strerror}.") from error
    if data.startswith(_WORKBOOKS):
        raise InputError(f"The {what} {path.name} is a workbook; save it as CSV in the spreadsheet program.")
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"The {what} {path.name} cannot be read as CSV: it is not text; save it as UTF-8 CSV.")


def _name(cell: str) -> str:
    return "_".join(cell.lower().split())
