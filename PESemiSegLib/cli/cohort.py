"""`pesemiseg cohort`: make a manifest of a data set, check, split and merge; show the augmentation."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from PESemiSegLib.cli import console
from PESemiSegLib.cli.options import require_free_file

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.cohorts.manifest import Case, Manifest

app = typer.Typer(no_args_is_help=True, help="Make, check and split manifests of scans and masks.")

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Another seed, another split.")]


class Role(StrEnum):
    """What the scans are for."""

    auto = "auto"
    labelled = "labelled"
    unlabelled = "unlabelled"


@app.command()
def make(
    source: Annotated[Path, typer.Argument(help="The folder of the data set, or a list of scans.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write, a CSV.")],
    layout: Annotated[
        str,
        typer.Option(
            help="fumpe, read, cad_pe, rspect, nnunet, pairs, seg_nrrd, dicom_seg, scans, phantom, list or "
            "auto."
        ),
    ] = "auto",
    site: Annotated[
        str,
        typer.Option(
            help="Name of the site; models and reports name it. Default: the data set's, else the folder's."
        ),
    ] = "",
    label_style: Annotated[str, typer.Option(help="How its annotators draw. Default: the data set's.")] = "",
    role: Annotated[Role, typer.Option(help="auto: labelled where there is a mask.")] = Role.auto,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of the patients.")] = 0.0,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the patients.")] = 0.0,
    seed: SeedOption = 0,
    kind: Annotated[
        str,
        typer.Option(
            help="What the masks mark: emboli, or, of made-up patients, arteries or opacities. Lists have a "
            "column marks for it."
        ),
    ] = "emboli",
    unopened: Annotated[
        bool, typer.Option("--unopened", help="Do not open the scans: quick, but nothing is checked.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a manifest of a data set; masks that only the data set can read are written beside it as NIfTI."""
    from PESemiSegLib.cohorts.build import BuildOptions, build_manifest, with_fingerprints
    from PESemiSegLib.cohorts.folders import from_phantom
    from PESemiSegLib.cohorts.manifest import write_manifest
    from PESemiSegLib.cohorts.splits import split_by_patient
    from PESemiSegLib.models.kinds import kind_named

    require_free_file(output, overwrite=overwrite)
    masks = output.parent / f"{output.stem}_masks"
    options = BuildOptions(masks, site, label_style, role.value, open_scans=not unopened)
    marks = kind_named(kind).masks
    if marks == "emboli":
        manifest = build_manifest(source, options, layout=layout, progress=_tell)
    else:
        manifest = with_fingerprints(from_phantom(source, marks=marks))
    manifest = split_by_patient(manifest, validation=validation, test=test, seed=seed)
    write_manifest(manifest, output)
    _summary(manifest)
    console.say(f"manifest written to {output} (research use only)")


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="The CSV.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Also open every scan and mask; finds copies.")
    ] = False,
) -> None:
    """List every problem of a manifest, row by row; exit code 2 if there is one."""
    from PESemiSegLib.cohorts.build import inspect
    from PESemiSegLib.cohorts.manifest import Manifest, ManifestError, read_manifest

    try:
        cases = read_manifest(manifest)
    except ManifestError as error:
        for problem in error.problems:
            print(problem)
        raise
    wrong = []
    if deep:
        opened = list(cases)
        used = [n for n, case in enumerate(opened) if case.role != "excluded"]
        for done, n in enumerate(used, start=1):
            opened[n], texts = inspect(opened[n])
            found = [f"case {n + 1}: {text}" for text in texts]
            print("\n".join(found), end="\n" if found else "")
            wrong += found
            console.say(f"opened {done}/{len(used)}")
        try:
            Manifest(tuple(opened), manifest.name)  # copies show by the fingerprints that are known now
        except ManifestError as error:
            print("\n".join(error.problems))
            wrong += error.problems
    _summary(cases)
    if wrong:
        raise ManifestError(manifest.name, wrong)
    console.say("no problem found")


@app.command()
def split(
    manifest: Annotated[Path, typer.Argument(help="The CSV.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV to write; with --folds: a folder.")],
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of the patients.")] = 0.15,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the patients.")] = 0.15,
    folds: Annotated[int, typer.Option(min=0, help="Folds of a cross-validation, instead of --test.")] = 0,
    labelled: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the training patients that keeps its labels.")
    ] = 1.0,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Split by patient, those with and without PE and of each site alike; the same seed, the same split."""
    from PESemiSegLib.cohorts.manifest import read_manifest, write_manifest
    from PESemiSegLib.cohorts.splits import hide_labels, k_folds, split_by_patient

    cases = read_manifest(manifest)
    if not folds:
        require_free_file(output, overwrite=overwrite)
        drawn = split_by_patient(cases, validation=validation, test=test, seed=seed)
        drawn = hide_labels(drawn, labelled, seed=seed)
        write_manifest(drawn, output)
        _summary(drawn)
        return
    drawn_folds = k_folds(cases, folds, seed=seed, validation=validation)
    paths = [output / f"fold{number}.csv" for number in range(1, len(drawn_folds) + 1)]
    for path in paths:  # all of them, before the first is written
        require_free_file(path, overwrite=overwrite)
    for path, fold in zip(paths, drawn_folds, strict=True):
        fold = hide_labels(fold, labelled, seed=seed)
        write_manifest(fold, path)
        console.say(f"{path.name}: {', '.join(f'{name} {n}' for name, n in fold.counts().items())}")


@app.command()
def merge(
    manifests: Annotated[list[Path], typer.Argument(help="Two or more CSVs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Put manifests together, such as a labelled data set and the scans of one's own hospital."""
    from PESemiSegLib.cohorts.manifest import read_manifest, write_manifest

    require_free_file(output, overwrite=overwrite)
    merged = read_manifest(manifests[0])
    for path in manifests[1:]:
        merged = merged.merged(read_manifest(path))
    write_manifest(merged, output)
    _summary(merged)


@app.command()
def healthy(
    source: Annotated[Path, typer.Argument(help="Scans without any opacity: a folder, or a manifest.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write, a CSV.")],
    site: Annotated[str, typer.Option(help="Name of the site, for a folder of scans.")] = "healthy",
) -> None:
    """Label scans that are known to be free of opacities without an annotator: lung, and what is not."""
    from PESemiSegLib.models.kinds import OPACITIES
    from PESemiSegLib.training.gather import unlabelled_scans
    from PESemiSegLib.training.healthy import label_healthy
    from PESemiSegLib.volumes.segments import HEALTHY_LUNG

    require_free_file(output, overwrite=False)
    label = OPACITIES.segments.index(HEALTHY_LUNG) + 1
    scans = unlabelled_scans(source, site, OPACITIES.masks)
    _summary(label_healthy(scans, output, label, lambda done, total: console.say(f"scan {done}/{total}")))
    console.say(f"manifest written to {output} (research use only)")


@app.command()
def register(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="A CSV with the columns patient, contrast, plain (and mask), a manifest, or a phantom."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the scans and the manifest.")],
    registered: Annotated[
        bool, typer.Option("--registered", help="They are registered already: only check, and take them.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Lay contrast scans and their masks on the scan without contrast of the same patient, and check it."""
    from PESemiSegLib.cohorts.manifest import write_manifest
    from PESemiSegLib.cohorts.pair_list import read_pairs
    from PESemiSegLib.cohorts.phases import pair_manifest
    from PESemiSegLib.errors import Cancelled, InputError
    from PESemiSegLib.inference.pair_registration import register_pairs

    def check() -> None:
        if console.stopping():
            raise Cancelled("stopped as asked; pairs that are done are kept")

    target = output / "pairs.csv"
    require_free_file(target, overwrite=overwrite)
    known = read_pairs(pairs)

    def tell(number: int, text: str) -> None:
        console.say(f"pair {number}/{len(known)}: {text}")

    used, refused = register_pairs(known, output / "scans", registered=registered, told=tell, check=check)
    if used:
        manifest = pair_manifest(used)
        write_manifest(manifest, target)
        _summary(manifest)
        console.say(f"manifest of {len(used)} pair(s) written to {target} (research use only)")
    if refused:
        raise InputError(f"{len(refused)} of {len(known)} pairs were left out: {'; '.join(refused)}")


@app.command()
def picture(
    output: Annotated[Path, typer.Option("-o", "--output", help="The PNG to write.")],
    scan: Annotated[Path | None, typer.Option(help="A scan. Default: a made-up patient.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another patient and other changes.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a picture sheet of what each augmentation does to a slice, in HU."""
    from PESemiSegLib.cohorts.picture_sheet import save_sheet, sheet

    require_free_file(output, overwrite=overwrite)
    save_sheet(sheet(*(_made_up(seed) if scan is None else _middle(scan)), seed=seed), output)
    console.say(f"picture sheet written to {output}")


def _made_up(seed: int) -> tuple[np.ndarray, np.ndarray | None, float]:
    """The slice with most clot of a made-up patient, its mask, and the pixel size in mm."""
    from PESemiSegLib.phantom.cohort import recipes
    from PESemiSegLib.phantom.patient import make_case

    recipe = next(recipe for recipe in recipes("A", 3, seed, "medium") if recipe.pe)
    case = make_case(recipe)
    z = int(case.clot.sum(axis=(1, 2)).argmax())
    return case.hu[z], case.clot[z], case.grid.spacing_mm[0]


def _middle(scan: Path) -> tuple[np.ndarray, np.ndarray | None, float]:
    from PESemiSegLib.volumes.reader import read

    volume = read(scan)
    return volume.hu[len(volume.hu) // 2], None, volume.spacing_mm[0]


def _tell(done: int, total: int, case: Case) -> None:
    what = f"left out: {case.problems[-1]}" if case.role == "excluded" else case.role
    console.say(f"scan {done}/{total}: {what}")


def _summary(manifest: Manifest) -> None:
    for name, patients in manifest.counts().items():
        print(f"{name}: {patients} patient{'' if patients == 1 else 's'}")
    notes = sum(bool(case.problems) for case in manifest)
    if notes:
        print(f"{notes} scan(s) with notes in the column 'problems'")
