"""Owns `pesemiseg phantom`: made-up patients for training, testing and trying things out."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from PESemiSegLib.cli import console
from PESemiSegLib.errors import OutputError

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.phantom.recipe import Recipe


class SiteName(StrEnum):
    """The made-up hospitals."""

    A = "A"
    B = "B"
    C = "C"


class FileFormat(StrEnum):
    """What the scans are written as."""

    dicom = "dicom"
    nifti = "nifti"


class PresetName(StrEnum):
    """The size of the images."""

    ci = "ci"
    medium = "medium"
    standard = "standard"


def phantom(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to make; one folder a patient in it.")
    ],
    site: Annotated[SiteName, typer.Option(help="Hospital: scanner, protocol and label style.")] = SiteName.A,
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other patients.")] = 0,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the scans.")] = FileFormat.dicom,
    preset: Annotated[
        PresetName,
        typer.Option(help="ci: 192x192x64; medium: 384x384, 2 mm; standard: 512x512, 1 mm."),
    ] = PresetName.standard,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Also a PNG of all patients.")
    ] = False,
    noncontrast: Annotated[
        bool, typer.Option("--noncontrast", help="Also each patient's scan without contrast.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Patients to build at the same time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the folder.")] = False,
) -> None:
    """Make up CT pulmonary angiograms: scans, exact masks, and recipes that reproduce them bit for bit."""
    from PESemiSegLib.phantom.cohort import recipes

    wanted = recipes(site.value, patients, seed, preset.value)
    _prepare(output, overwrite)
    strips: list[np.ndarray] = []
    for recipe, strip in _made(wanted, output, file_format.value, noncontrast, contact_sheet, jobs):
        console.say(f"{recipe.name}: {'emboli' if recipe.pe else 'no emboli'}")
        if strip is not None:
            strips.append(strip)
    if strips:
        from PESemiSegLib.phantom.contact_sheet import save_sheet

        save_sheet(strips, output / "contact_sheet.png")
    typer.echo(
        f"{len(wanted)} made-up patient{'' if len(wanted) == 1 else 's'} in {output} (research use only)"
    )


def _prepare(output: Path, overwrite: bool) -> None:
    """An empty folder, or an OutputError that says why not."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output.name} is a file: choose a folder")
    if output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise OutputError(f"{output.name} is not empty: choose another folder or add --overwrite")
        known = [
            p for p in output.iterdir() if (p / "recipe.json").is_file() or p.name == "contact_sheet.png"
        ]
        for path in known:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {output.name}: {error.strerror}") from error


def _made(
    wanted: "list[Recipe]", output: Path, file_format: str, noncontrast: bool, sheet: bool, jobs: int
) -> "Iterator[tuple[Recipe, np.ndarray | None]]":
    """Each recipe, once its patient is on the disk, with its strip for the contact sheet."""
    arguments = [(recipe, output, file_format, noncontrast, sheet) for recipe in wanted]
    if jobs == 1 or len(wanted) == 1:
        yield from zip(wanted, map(_make_one, arguments), strict=True)
        return
    with ProcessPoolExecutor(min(jobs, len(wanted))) as pool:
        yield from zip(wanted, pool.map(_make_one, arguments), strict=True)


def _make_one(arguments: "tuple[Recipe, Path, str, bool, bool]") -> "np.ndarray | None":
    from PESemiSegLib.phantom.contact_sheet import strip
    from PESemiSegLib.phantom.patient import make_case, make_noncontrast_twin
    from PESemiSegLib.phantom.write import write_case

    recipe, output, file_format, noncontrast, sheet = arguments
    case = make_case(recipe)
    write_case(case, output / recipe.name, file_format)  # type: ignore[arg-type]
    pictures = strip(case) if sheet else None
    if noncontrast:
        twin = make_noncontrast_twin(recipe)
        write_case(twin, output / twin.recipe.name, file_format)  # type: ignore[arg-type]
    return pictures
