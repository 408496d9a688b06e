"""Tables as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import PESemiSegLib
from PESemiSegLib.atomic import whole_file
from PESemiSegLib.errors import OutputError
from PESemiSegLib.models.info import INTENDED_USE

PAGE = "evaluation.html"  # beside the tables, and shows them
AGREEMENT = "agreement.json"  # instead of all others, where there are no labels
_TABLES = ("classes", "comparisons", "emboli", "froc", "images", "paper_compat", "patients", "roc", "scans")
_PICTURES = ("classes", "froc", "patients", "probabilities", "roc", "sizes")
NAMES = frozenset(
    {PAGE, AGREEMENT, "evaluation.json", "summary.csv", "summary.md"}
    | {f"{name}.csv" for name in _TABLES}
    | {f"{name}.{form}" for name in _PICTURES for form in ("svg", "png")}
)
"""The files that an evaluation of any kind leaves in its folder."""
Row = Mapping[str, Any]


def heading() -> dict[str, Any]:
    """What the record of every evaluation begins with."""
    return {"program": f"pesemiseg {PESemiSegLib.__version__}", "intended_use": INTENDED_USE}


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table; the columns are those of the first row."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [_line(names), _line(["---"] * len(names))]
    lines += [_line([_cell(row.get(name, "")) for name in names]) for row in rows]
    return "\n".join(lines) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """The same as CSV, figures in full: "Dice" with its interval is "Dice", "Dice low", "Dice high" ..."""
    if not rows:
        return ""
    text = io.StringIO()
    full = [_in_full(row) for row in rows]
    writer = csv.DictWriter(
        text, list(dict.fromkeys(name for row in full for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(full)
    return text.getvalue()


def to_json(value: Any) -> str:
    """JSON without NaN or infinity, which are no JSON: they become null."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Dataclasses, mappings and numpy's numbers as what JSON knows; NaN and infinity as None."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value


def write_all(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files of one evaluation in their order; an empty one is none.

    Those of NAMES that are not made now are removed: they are an earlier evaluation's. Raises OutputError.
    """
    made = {name: content for name, content in files.items() if content}
    if unknown := made.keys() - NAMES:
        raise ValueError(f"not among the names of an evaluation's files: {sorted(unknown)}")
    for name in NAMES - made.keys():
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{name} of before cannot be removed: {error.strerror}.") from error
    for name, content in made.items():
        write_bytes(folder / name, content.encode("utf-8") if isinstance(content, str) else content)


def write_text(path: Path, text: str) -> None:
    """Write a table, aside first, then moved into place; raises OutputError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, aside first, then moved into place; raises OutputError."""
    try:
        with whole_file(path) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written: {error.strerror}.") from error


def make_folder(folder: Path) -> None:
    """Make the folder of the tables where it is missing; raises OutputError, also where it takes no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder.name} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):  # told now, and not after hours of work
        raise OutputError(f"The folder {folder.name} cannot be written to; give another.")


def _in_full(row: Row) -> dict[str, Any]:
    """The row with one column per number: of a dataclass the first bears the column's name alone."""
    full: dict[str, Any] = {}
    for name, value in row.items():
        if is_dataclass(value) and not isinstance(value, type):
            first, *others = asdict(value).items()
            full |= {name: first[1]} | {f"{name} {part}": number for part, number in others}
        else:
            full[name] = value
    return full


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.3f}"
    return str(value)
