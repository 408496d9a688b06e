"""`pesemiseg evaluate`: measure models on the labelled scans of a manifest, and compare them."""

from __future__ import annotations

import os
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli import console

if TYPE_CHECKING:
    from PESemiSegLib.cohorts.manifest import Case, Manifest
    from PESemiSegLib.evaluation.evaluate import CaseDone
    from PESemiSegLib.models.package import ModelPackage

SPLITS = ("train", "val", "test", "all")


def evaluate(
    model: Annotated[
        list[str], typer.Option(help="Name in the store, folder or .zip; give it often to compare models.")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for page and tables; of emboli, run again to go on."),
    ],
    manifest: Annotated[Path | None, typer.Option(help="CSV of cases; see also --phantom.")] = None,
    phantom: Annotated[
        list[Path] | None, typer.Option(help="Folder that `pesemiseg phantom` wrote; may be given often.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, val, test or all; with --phantom all patients count.")
    ] = "test",
    choose: Annotated[
        bool, typer.Option("--choose", help="Instead: find thresholds and smallest mark on this split.")
    ] = False,
    min_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of an embolus that must be marked.")
    ] = 0.0,
    jobs: Annotated[int, typer.Option(min=1, help="Scans at once, each in a process of its own.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    identify: Annotated[
        bool, typer.Option("--identify", help="Name patients as the manifest does, not by number.")
    ] = False,
) -> None:
    """Segment every case; write a page, tables and pictures, with intervals. Research use only."""
    from PESemiSegLib.errors import ConfigError
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.models.kinds import IDENTIFICATION
    from PESemiSegLib.models.store import Store

    packages = [Store().find(name) for name in model]
    kinds = {package.info.what.name: package.info.what for package in packages}
    if len(kinds) > 1:
        raise ConfigError(f"The models mark {' and '.join(sorted(kinds))}; compare models of one kind.")
    kind = next(iter(kinds.values()))
    cohort, split_wanted = _cohort(manifest, phantom or [], split, kind.masks)
    cases = list(cohort.select(split_wanted))
    if len({package.sha256 for package in packages}) < len(packages):
        raise ConfigError("One model is given twice; give each once.")
    tables.make_folder(output)
    if jobs > 1 and threads is None:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    settings: dict[str, Any] = {"threads": threads, "precision": precision}
    if kind is IDENTIFICATION:
        if choose:
            raise ConfigError(
                "--choose is for models that mark emboli; these tell PE from a probability of 0.5."
            )
        _measure_identified(cohort, split_wanted, packages, output, jobs, identify, settings)
    elif kind.classes > 2:
        if choose:
            raise ConfigError(f"--choose is for emboli; models of {kind.name} have no threshold.")
        _measure_labels(cases, packages, output, jobs, identify, settings)
    elif choose:
        if len(packages) > 1:
            raise ConfigError("--choose takes one --model.")
        _choose(cases, packages[0], output, settings)
    elif not any(case.role == "labelled" for case in cases) and len(packages) == 2:
        _agree(cases, packages, output, jobs, settings)
    else:
        _measure(cases, packages, output, min_overlap, jobs, identify, settings)


def _cohort(
    manifest: Path | None, phantoms: list[Path], split: str, marks: str
) -> tuple[Manifest, str | None]:
    """The cohort, and the split of it that counts (None: all)."""
    from PESemiSegLib.cohorts.folders import from_phantom
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.errors import ConfigError, InputError

    if (manifest is None) == (not phantoms):
        raise InputError("Give either --manifest or --phantom.")
    if split not in SPLITS:
        raise ConfigError(f"split '{split}' is not one of {', '.join(SPLITS)}")
    if manifest is None:
        first, *others = (from_phantom(folder, validation=0.0, marks=marks) for folder in phantoms)
        return reduce(lambda known, more: known.merged(more), others, first), None
    return read_manifest(manifest), None if split == "all" else split


def _measure(
    cases: list[Case],
    packages: list[ModelPackage],
    output: Path,
    min_overlap: float,
    jobs: int,
    identify: bool,
    settings: dict[str, Any],
) -> None:
    from PESemiSegLib.evaluation.case import Measuring
    from PESemiSegLib.evaluation.evaluate import evaluate_models
    from PESemiSegLib.evaluation.report import PAGE, require_plotting, write_report

    require_plotting()
    results = evaluate_models(
        cases,
        packages,
        measuring=Measuring(min_overlap),
        folder=output / "cases",
        jobs=jobs,
        progress=_tell,
        cancelled=console.stopping,
        **settings,
    )
    summary = write_report(
        output, packages, results, min_overlap=min_overlap, settings=settings, identify=identify
    )
    print(summary)
    console.say(f"the page: {output / PAGE}")


def _measure_labels(
    cases: list[Case],
    packages: list[ModelPackage],
    output: Path,
    jobs: int,
    identify: bool,
    settings: dict[str, Any],
) -> None:
    from PESemiSegLib.evaluation.label_cases import evaluate_labels, write_label_report

    results = evaluate_labels(
        cases,
        packages,
        jobs=jobs,
        progress=lambda done, total: console.say(f"case {done}/{total}"),
        cancelled=console.stopping,
        **settings,
    )
    print(write_label_report(output, packages, results, identify=identify))
    console.say(f"the tables: {output / 'summary.md'}, {output / 'classes.csv'}")


def _measure_identified(
    cohort: Manifest,
    split: str | None,
    packages: list[ModelPackage],
    output: Path,
    jobs: int,
    identify: bool,
    settings: dict[str, Any],
) -> None:
    from PESemiSegLib.evaluation.identified import evaluate_identified
    from PESemiSegLib.evaluation.identified_tables import write_identified

    results = evaluate_identified(
        cohort,
        packages,
        output,
        split=split,
        jobs=jobs,
        progress=lambda done, total, scans: console.say(
            f"case {done}/{total}: probability of PE " + " | ".join(f"{scan.score:.3f}" for scan in scans)
        ),
        cancelled=console.stopping,
        **settings,
    )
    print(write_identified(output, packages, results, name_patients=identify))
    console.say(f"the tables: {output / 'summary.md'}, {output / 'scans.csv'}")


def _agree(
    cases: list[Case], packages: list[ModelPackage], output: Path, jobs: int, settings: dict[str, Any]
) -> None:
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.verdict import compare

    before, after = packages
    verdict = compare(
        before,
        after,
        cases,
        jobs=jobs,
        progress=lambda done, total: console.say(f"case {done}/{total}"),
        cancelled=console.stopping,
        **settings,
    )
    tables.write_text(output / "agreement.json", tables.to_json(verdict.to_dict()))
    print(verdict)


def _choose(cases: list[Case], package: ModelPackage, output: Path, settings: dict[str, Any]) -> None:
    from dataclasses import asdict

    from PESemiSegLib.errors import InputError
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.operating_point import choose_point, sweep

    cases = [case for case in cases if case.role == "labelled"]
    if not cases:
        raise InputError("There is no labelled case to choose on; check role and split in the manifest.")
    points = sweep(
        cases,
        package,
        progress=lambda done: console.say(f"case {done}/{len(cases)}"),
        **settings,
    )
    best = choose_point(points)
    tables.write_text(output / "operating_points.csv", tables.to_csv([asdict(p) for p in points]))
    tables.write_text(output / "chosen.json", tables.to_json(best))
    print(tables.to_markdown([asdict(best)]))
    console.say(
        f"a model with it: pesemiseg models amend {package.path} -o NEW --threshold {best.threshold:g} "
        f"--core-threshold {best.core_threshold:g} --min-lesion-mm3 {best.min_lesion_mm3:g}"
    )


def _tell(step: CaseDone) -> None:
    """One line per scan: the figures of each model."""
    from PESemiSegLib.evaluation.wording import written

    figures = " | ".join(
        f"Dice {written(result.dice)}, emboli {result.lesions.found}/{len(result.lesions.lesions)}, "
        f"false marks {result.lesions.false_marks}"
        for result in step.results
    )
    took = "stored" if step.stored else f"{sum(result.seconds for result in step.results):.0f} s"
    console.say(f"case {step.done}/{step.total}: {figures}, {took}")
