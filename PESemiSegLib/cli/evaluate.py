"""`pesemiseg evaluate`: measure models on the labelled scans of a manifest, and compare them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli import console

if TYPE_CHECKING:
    from PESemiSegLib.cohorts.manifest import Manifest
    from PESemiSegLib.evaluation.by_kind import Step
    from PESemiSegLib.evaluation.folds import CrossValidated, Model
    from PESemiSegLib.models.package import ModelPackage

SPLITS = ("train", "val", "test", "all")


def evaluate(
    model: Annotated[
        list[str],
        typer.Option(
            help="Name in the store, folder or .zip; give it often to compare models. With --folds, {} in it "
            "stands for the fold's number: RUN_{}/model."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for page and tables; run again to go on."),
    ],
    manifest: Annotated[Path | None, typer.Option(help="CSV of cases; see also --phantom.")] = None,
    phantom: Annotated[
        list[Path] | None, typer.Option(help="Folder that `pesemiseg phantom` wrote; may be given often.")
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `cohort split --folds`: the test patients of all folds, each by the model of the "
            "fold that held it out."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val, test or all; with --phantom all count. Default: test; for --choose val."
        ),
    ] = None,
    choose: Annotated[
        bool,
        typer.Option("--choose", help="Instead: find thresholds and smallest mark, on validation patients."),
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
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.evaluation.by_kind import Evaluation, kind_of
    from PESemiSegLib.models.store import Store

    if choose and (jobs > 1 or min_overlap or identify):
        raise InputError("--choose takes no --jobs, --min-overlap or --identify.")
    if choose and split in ("test", "all"):
        raise InputError("What is chosen on test patients flatters them: --choose takes the split val.")
    if jobs > 1 and threads is None:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    settings: dict[str, Any] = {"threads": threads, "precision": precision}
    models: Sequence[Model]
    if folds is not None:
        if manifest or phantom or choose:
            raise InputError("--folds brings its own patients: give no --manifest, --phantom or --choose.")
        models, cohort = _cross_validated(model, folds)
        split_wanted = None
    else:
        models = packages = [Store().find(name) for name in model]
        wanted = split or ("val" if choose else "test")
        cohort, split_wanted = _cohort(manifest, phantom or [], wanted, kind_of(packages).masks)
        if choose:
            _choose(cohort.select(split_wanted), packages, output, settings)
            return
        _spare(manifest, output)
    outcome = Evaluation(
        cohort,
        models,
        output,
        split=split_wanted,
        min_overlap=min_overlap,
        jobs=jobs,
        identify=identify,
        settings=settings,
        progress=_tell,
        cancelled=console.stopping,
    ).run()
    print(outcome.summary)
    console.say(f"look at {', '.join(map(str, outcome.files))}")


def _cross_validated(names: list[str], folder: Path) -> tuple[list[CrossValidated], Manifest]:
    """Of each name the models of all folds, and the patients that were held out."""
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.evaluation.folds import PLACE, cross_validated, held_out, read_folds
    from PESemiSegLib.models.store import Store

    if wrong := [name for name in names if PLACE not in name]:
        raise InputError(f"With --folds a model's name holds {PLACE} for the fold's number: {wrong[0]}")
    folds = read_folds(folder)
    found = [[Store().find(name.replace(PLACE, str(number))) for number in folds] for name in names]
    return [cross_validated(packages, folds) for packages in found], held_out(folds)


def _cohort(
    manifest: Path | None, phantoms: list[Path], split: str, marks: str
) -> tuple[Manifest, str | None]:
    """The cohort, and the split of it that counts (None: all)."""
    from PESemiSegLib.cohorts.folders import from_phantom
    from PESemiSegLib.cohorts.manifest import Manifest, read_manifest
    from PESemiSegLib.errors import ConfigError, InputError

    if (manifest is None) == (not phantoms):
        raise InputError("Give either --manifest or --phantom.")
    if split not in SPLITS:
        raise ConfigError(f"split '{split}' is not one of {', '.join(SPLITS)}")
    if manifest is None:
        cohorts = [from_phantom(folder, validation=0.0, marks=marks) for folder in phantoms]
        return reduce(Manifest.merged, cohorts), None
    return read_manifest(manifest), None if split == "all" else split


def _spare(manifest: Path | None, output: Path) -> None:
    """Raise InputError where the evaluation would write over its own manifest, or remove it."""
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.evaluation.tables import NAMES

    if manifest and manifest.name in NAMES and manifest.parent.resolve() == output.resolve():
        raise InputError(f"{manifest.name} is the name of a table in the folder {output.name}: give another.")


def _choose(manifest: Manifest, packages: list[ModelPackage], output: Path, settings: dict[str, Any]) -> None:
    """Find the operating point of one model of emboli."""
    from dataclasses import asdict

    from PESemiSegLib.errors import ConfigError
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.evaluate import labelled
    from PESemiSegLib.evaluation.operating_point import choose_point, sweep
    from PESemiSegLib.models.kinds import EMBOLI

    package, *others = packages
    if others:
        raise ConfigError("--choose takes one --model.")
    kind = package.info.what
    if kind is not EMBOLI:
        why = "tell PE from a probability of 0.5" if "identifier" in kind.parts else "have no threshold"
        raise ConfigError(f"--choose is for models that mark emboli; those of {kind.name} {why}.")
    manifest.require_marks(kind.masks)
    cases = labelled(manifest)
    tables.make_folder(output)
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


def _tell(step: Step) -> None:
    """One line per scan: the figures of each model, where the kind has any to tell."""
    console.say(f"case {step.done}/{step.total}: {step.words}".removesuffix(": "))
