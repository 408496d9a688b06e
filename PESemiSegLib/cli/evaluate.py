"""`pesemiseg evaluate`: measure a model on the labelled scans of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from PESemiSegLib.cli import console

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.evaluate import CaseResult


def evaluate(
    model: Annotated[str, typer.Option(help="Name in the store, folder or .zip.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the tables.")],
    manifest: Annotated[Path | None, typer.Option(help="CSV of cases; see also --phantom.")] = None,
    phantom: Annotated[
        list[Path] | None, typer.Option(help="Folder that `pesemiseg phantom` wrote; may be given often.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, val or test; with --phantom all patients count.")
    ] = "test",
    choose: Annotated[
        bool, typer.Option("--choose", help="Instead: find the threshold and smallest mark on this split.")
    ] = False,
    min_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of an embolus that must be marked.")
    ] = 0.0,
    threads: Annotated[int | None, typer.Option(min=1)] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Segment every case and write tables per patient and per site, with intervals. Research use only."""
    from PESemiSegLib.cohorts.folders import from_phantom
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.evaluate import by_site, evaluate_cases, summary_rows
    from PESemiSegLib.models.store import Store

    if (manifest is None) == (not phantom):
        raise InputError("Give either --manifest or --phantom.")
    if manifest is not None:
        cases = list(read_manifest(manifest).select(split, "labelled"))
    else:
        cases = [case for folder in phantom or [] for case in from_phantom(folder)]
    package = Store().find(model)
    tables.make_folder(output)
    if choose:
        _choose(cases, package, output, threads, precision)
        return
    results = evaluate_cases(
        cases, package, min_overlap=min_overlap, progress=_tell, threads=threads, precision=precision
    )
    groups = by_site(results)
    rows = [result.row() for result in results]
    tables.write_text(output / "patients.csv", tables.to_csv(rows))
    summary = tables.to_markdown(summary_rows(groups))
    tables.write_text(output / "summary.md", summary)
    record = {"model": package.info.name, "sha256": package.sha256, "sites": groups, "patients": rows}
    tables.write_text(output / "evaluation.json", tables.to_json(record))
    print(summary)


def _choose(cases, package, output, threads, precision):  # type: ignore[no-untyped-def]
    from dataclasses import asdict

    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.operating_point import choose_point, sweep

    points = sweep(
        cases,
        package,
        progress=lambda done: console.say(f"case {done}/{len(cases)}"),
        threads=threads,
        precision=precision,
    )
    best = choose_point(points)
    tables.write_text(output / "operating_points.csv", tables.to_csv([asdict(p) for p in points]))
    tables.write_text(output / "chosen.json", tables.to_json(best))
    print(tables.to_markdown([asdict(best)]))


def _tell(done: int, total: int, result: CaseResult) -> None:
    console.say(
        f"case {done}/{total}: Dice {result.overlap.dice:.3f}, "
        f"emboli {result.lesions.found}/{len(result.lesions.lesions)}, "
        f"false marks {result.lesions.false_marks}, {result.seconds:.0f} s"
    )
