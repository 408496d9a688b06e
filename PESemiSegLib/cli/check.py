"""Owns `pesemiseg check`: is this scan fit to be segmented?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from PESemiSegLib.cli.options import InputPath, SeriesOption, StrictOption, print_json


def check(
    input: InputPath,
    series: SeriesOption = None,
    strict: StrictOption = False,
    identify: Annotated[
        bool, typer.Option("--identify", help="Name the files that were left out as not readable.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a scan: CT, chest, slice spacing, enhancement of the pulmonary arteries, motion."""
    from PESemiSegLib.inference.check import check as run_check
    from PESemiSegLib.volumes.reader import read

    volume = read(Path(input), series=series)
    report = run_check(volume)
    if as_json:
        named = {"left_out": list(volume.facts.left_out)} if identify else {}
        print_json(report.to_dict() | {"warnings": list(volume.facts.warnings)} | named)
    else:
        for line in report.sentences:
            print(f"{line.level:<8} {line.text}")
        for name in volume.facts.left_out if identify else ():
            print(f"{'left out':<8} {name}")
    report.require(strict)
