"""Owns the arguments and the printing that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

InputPath = Annotated[
    Path,
    typer.Argument(metavar="INPUT", help="A DICOM folder or file, or a NIfTI, NRRD or MetaImage file."),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        help="Which series of the folder: its number, its UID, or index:N of the list that an error prints. "
        "Default: the longest axial CT."
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse a scan whose input check has a warning.")
]


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, and nothing else there."""
    json.dump(value, sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")
