"""Owns `pesemiseg segment`: from a scan on disk to a folder with the result."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli import console
from PESemiSegLib.cli.options import (
    DeviceOption,
    Engine,
    EngineOption,
    InputPath,
    JsonOption,
    LungFilter,
    LungFilterOption,
    MinSizeOption,
    NoDicomSegOption,
    NoReportOption,
    OutputOption,
    OverwriteOption,
    Precision,
    PrecisionOption,
    SeriesOption,
    StrictOption,
    ThreadsOption,
    ThresholdOption,
    WholeOption,
    print_json,
)

if TYPE_CHECKING:
    from PESemiSegLib.inference.progress import ProgressCallback
    from PESemiSegLib.inference.result import Result
    from PESemiSegLib.inference.save import Saved
    from PESemiSegLib.models.package import ModelPackage

_LISTED = 10  # findings shown on the terminal


class Kind(StrEnum):
    """What is marked."""

    emboli = "emboli"
    arteries = "arteries"
    opacities = "opacities"


def segment(
    input: InputPath,
    output: OutputOption,
    kind: Annotated[
        Kind,
        typer.Option(
            help="What is marked; arteries: aorta, pulmonary artery; opacities: ground glass, consolidation."
        ),
    ] = Kind.emboli,
    model: Annotated[
        str | None,
        typer.Option(help="A model of the store, or the path of a package. Default for emboli: demo."),
    ] = None,
    arteries: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="An artery model: marks are cut to the arteries, and the clot is told as their share.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    engine: EngineOption = Engine.auto,
    series: SeriesOption = None,
    whole: WholeOption = False,
    lung_filter: LungFilterOption = LungFilter.hull,
    threshold: ThresholdOption = None,
    core_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Probability of a mark's core. Default: see --threshold."),
    ] = None,
    min_size: MinSizeOption = None,
    strict: StrictOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    no_report: NoReportOption = False,
    no_dicom_seg: NoDicomSegOption = False,
    identify: Annotated[
        bool, typer.Option("--identify", help="Put the patient's ID and the input's name into the report.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Segment pulmonary emboli, or the arteries, in a CT pulmonary angiogram. Research use only."""
    from PESemiSegLib.errors import ConfigError
    from PESemiSegLib.inference.progress import Progress
    from PESemiSegLib.inference.save import save_result
    from PESemiSegLib.inference.staging import require_free
    from PESemiSegLib.models.store import Store

    require_free(output, overwrite=overwrite)  # before minutes of work, not after
    if model is None and kind is not Kind.emboli:
        raise ConfigError(f"No model for {kind.value} comes with the program; train one and give --model.")
    package = Store().find(model or "demo")
    package.require(kind.value)
    tree = None
    if arteries is not None:
        if kind is not Kind.emboli:
            raise ConfigError("--arteries is for emboli; with --kind arteries, give the model as --model.")
        tree = Store().find(arteries)
        tree.require(Kind.arteries.value)
    settings = {
        "kind": kind.value,
        "device": device,
        "precision": precision.value,
        "engine": engine.value,
        "whole": whole,
        "lung_filter": lung_filter.value,
        "threshold": threshold,
        "core_threshold": core_threshold,
        "min_lesion_mm3": min_size,
        "threads": threads,
        "strict": strict,
    }
    with console.shown_progress() as progress:
        result = _computed(input, series, package, tree, settings, progress)
        progress(Progress(0, 0, "write"))
        saved = save_result(
            result,
            output,
            overwrite=overwrite,
            dicom_seg=not no_dicom_seg,
            report=not no_report,
            identify=identify,
        )
    if as_json:
        print_json(saved.summary | {"folder": str(output)})
    else:
        _show(result, saved)


def _computed(
    input: Path,
    series: str | None,
    package: ModelPackage,
    tree: ModelPackage | None,
    settings: dict[str, Any],
    progress: ProgressCallback,
) -> Result:
    """The result; with `tree`, an artery model, inside the arteries that it finds, with the clot burden."""
    from PESemiSegLib.inference.arteries import segment_within
    from PESemiSegLib.inference.progress import Progress
    from PESemiSegLib.inference.segment import segment as run
    from PESemiSegLib.volumes.reader import read

    progress(Progress(0, 0, "read"))
    volume = read(input, series=series)
    walk = {"progress": progress, "cancelled": console.stopping, **settings}
    return run(volume, package, **walk) if tree is None else segment_within(volume, package, tree, **walk)


def _show(result: Result, saved: Saved) -> None:
    """The result in a few lines for a person."""
    for line in result.check.problems:
        print(f"{line.level}: {line.text}")
    for note in saved.notes:
        print(f"note: {note}")
    several = len(result.segments) > 1
    if several:
        volumes = [f"{f.name} {f.volume_mm3 / 1000:.1f} ml" for f in result.findings]
        print("; ".join(volumes) or "Nothing was found.")
    elif not result.findings:
        print("No emboli were found. This does not exclude pulmonary embolism.")
    else:
        count = len(result.findings)
        print(f"{count} finding{'s' if count > 1 else ''}, {result.total_volume_mm3 / 1000:.2f} ml in all")
    if result.burden is not None:
        for name, row in (("all", result.burden.total), *result.burden.levels.items()):
            share = "n/a" if row.share is None else f"{row.share:.1%}"
            print(f"clot in {name} arteries: {row.clot_ml:.2f} of {row.artery_ml:.1f} ml ({share})")
    for finding in () if several else result.findings[:_LISTED]:
        first, last = (k + 1 for k in finding.slice_range)
        print(
            f"{finding.id:4}  {finding.volume_mm3:9.1f} mm3  {finding.side:<7}  slices {first}-{last}"
            f"  probability {finding.mean_probability:.2f}  confidence {finding.mean_confidence:.2f}"
        )
    if len(result.findings) > _LISTED and not several:
        print(f"      ... {len(result.findings) - _LISTED} more in findings.csv")
    shown = saved.folder / ("report.html" if "report.html" in saved.files else "findings.csv")
    print(f"Result in {saved.folder}; open {shown}")
    print(f"{saved.summary['notice']}.")
