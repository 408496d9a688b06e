"""Owns the arguments and the printing that several commands share."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from PESemiSegLib.errors import OutputError


class Precision(StrEnum):
    """Arithmetic of the network."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Engine(StrEnum):
    """What runs the network."""

    auto = "auto"
    openvino = "openvino"
    torch = "torch"


class LungFilter(StrEnum):
    """Which marks outside the lungs are dropped."""

    hull = "hull"
    paper = "paper"
    none = "none"


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
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the result.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic of the network.")]
EngineOption = Annotated[Engine, typer.Option(help="What runs the network.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Processor cores to use. Default: all.")]
WholeOption = Annotated[bool, typer.Option("--whole", help="Compute the whole scan, not only the lungs.")]
LungFilterOption = Annotated[LungFilter, typer.Option(help="Drop marks outside the lungs.")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="Probability of a mark. Default: the model's, with its core."),
]
MinSizeOption = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="MM3", help="Smallest core of a finding. Default: the model's."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an older result in DIR.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
NoReportOption = Annotated[bool, typer.Option("--no-report", help="Leave report.html out.")]
NoDicomSegOption = Annotated[
    bool, typer.Option("--no-dicom-seg", help="Leave the DICOM SEG out: it carries the patient's data.")
]


def require_free_file(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError where a file would be replaced unasked; call it before the work."""
    if os.path.exists(path) and not overwrite:  # what Path.exists raises, writing says better
        raise OutputError(f"{path.name} exists already: choose another name or add --overwrite")


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, and nothing else there."""
    json.dump(value, sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")
