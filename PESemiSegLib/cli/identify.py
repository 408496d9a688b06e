"""Owns `pesemiseg identify`: from a scan without contrast agent to its probability of PE, mask and map."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

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
    from PESemiSegLib.inference.identification import IdentifyResult
    from PESemiSegLib.inference.save import Saved


class ScanFrom(StrEnum):
    """Which windows tell the scan's probability."""

    all = "all"
    middle = "middle"


def identify(
    input: InputPath,
    model: Annotated[str, typer.Option(help="A model of the store, or the path of a package.")],
    output: OutputOption,
    scan_from: Annotated[
        ScanFrom,
        typer.Option(
            help="The scan's probability: the highest of all windows on the lungs, or the middle one's."
        ),
    ] = ScanFrom.all,
    any_phase: Annotated[
        bool, typer.Option("--any-phase", help="Go on with a contrast scan, which is refused otherwise.")
    ] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    engine: EngineOption = Engine.auto,
    series: SeriesOption = None,
    whole: WholeOption = False,
    lung_filter: LungFilterOption = LungFilter.hull,
    threshold: ThresholdOption = None,
    min_size: MinSizeOption = None,
    strict: StrictOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    no_report: NoReportOption = False,
    no_dicom_seg: NoDicomSegOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Tell the probability of pulmonary embolism on a scan without contrast agent. Research use only."""
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.inference.identify import WrongPhase, require_identifier
    from PESemiSegLib.inference.identify import identify as run
    from PESemiSegLib.inference.progress import Progress
    from PESemiSegLib.inference.save_identification import save_identification
    from PESemiSegLib.inference.staging import require_free
    from PESemiSegLib.models.store import Store
    from PESemiSegLib.volumes.reader import read

    require_free(output, overwrite=overwrite)  # before minutes of work, not after
    package = Store().find(model)
    require_identifier(package)
    with console.shown_progress() as progress:
        progress(Progress(0, 0, "read"))
        volume = read(input, series=series)
        try:
            result = run(
                volume,
                package,
                scan_from=scan_from.value,
                any_phase=any_phase,
                device=device,
                precision=precision.value,
                engine=engine.value,
                whole=whole,
                lung_filter=lung_filter.value,
                threshold=threshold,
                min_lesion_mm3=min_size,
                threads=threads,
                strict=strict,
                progress=progress,
                cancelled=console.stopping,
            )
        except WrongPhase as problem:
            raise InputError(f"{problem} --any-phase goes on regardless.") from problem
        progress(Progress(0, 0, "write"))
        saved = save_identification(
            result, output, overwrite=overwrite, dicom_seg=not no_dicom_seg, report=not no_report
        )
    if as_json:
        print_json(saved.summary | {"folder": str(output)})
    else:
        _show(result, saved)


def _show(result: IdentifyResult, saved: Saved) -> None:
    """The result in a few lines for a person, the warning last."""
    for line in result.check.problems:
        print(f"{line.level}: {line.text}")
    for note in saved.notes:
        print(f"note: {note}")
    shares = result.window_probabilities
    print(
        f"probability of pulmonary embolism {result.pe_probability:.2f} "
        f"({len(shares)} windows on the lungs: {min(shares):.2f} to {max(shares):.2f})"
    )
    count = len(result.findings)
    print(f"{count} mark{'' if count == 1 else 's'}, {result.total_volume_mm3 / 1000:.2f} ml in all")
    shown = saved.folder / ("report.html" if "report.html" in saved.files else "result.json")
    print(f"Result in {saved.folder}; open {shown}")
    print(f"{saved.summary['notice']}. {saved.summary['warning']}")
