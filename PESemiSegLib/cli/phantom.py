"""Owns `pesemiseg phantom`: made-up patients for training, testing and trying things out."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from PESemiSegLib.atomic import discard, is_aside, is_system_litter
from PESemiSegLib.cli import console
from PESemiSegLib.errors import ConfigError, OutputError

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.phantom.patient import PhantomCase
    from PESemiSegLib.phantom.recipe import Recipe


_SHEET = "contact_sheet.png"


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
    opacities: Annotated[
        bool,
        typer.Option("--opacities", help="Ground glass and consolidations in most patients' lungs, mapped."),
    ] = False,
    clean_lungs: Annotated[
        bool, typer.Option("--clean-lungs", help="No opacity and no airless lung in anybody, mapped.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Patients to build at the same time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the folder.")] = False,
) -> None:
    """Make up CT pulmonary angiograms: scans, exact masks, and recipes that reproduce them bit for bit."""
    from PESemiSegLib.phantom.cohort import recipes

    if opacities and clean_lungs:
        raise ConfigError("--opacities and --clean-lungs exclude each other")
    wanted = recipes(site.value, patients, seed, preset.value, opacities="none" if clean_lungs else opacities)
    older = _prepare(output, overwrite)
    strips: list[np.ndarray] = []
    for recipe, strip in _made(wanted, output, file_format.value, noncontrast, contact_sheet, jobs):
        older -= {recipe.name, *([replace(recipe, contrast=False).name] if noncontrast else [])}
        console.say(f"{recipe.name}: {'emboli' if recipe.pe else 'no emboli'}")
        if strip is not None:
            strips.append(strip)
    if strips:
        from PESemiSegLib.phantom.contact_sheet import save_sheet

        save_sheet(strips, output / _SHEET)
        older.discard(_SHEET)
    for name in older:
        discard(output / name)
    typer.echo(
        f"{len(wanted)} made-up patient{'' if len(wanted) == 1 else 's'} in {output} (research use only)"
    )


def _prepare(output: Path, overwrite: bool) -> set[str]:
    """Make the folder, or raise an OutputError that says why not; what of ours is in it already.

    Older patients stay until the new ones are there: those take minutes, and may be interrupted.
    """
    try:
        if output.exists() and not output.is_dir():
            raise OutputError(f"{output.name} is a file: choose a folder")
        output.mkdir(parents=True, exist_ok=True)
        there = [entry for entry in output.iterdir() if not is_system_litter(entry.name)]
    except OSError as error:
        raise OutputError(f"cannot make the folder {output.name}: {error.strerror}") from error
    if there and not overwrite:
        raise OutputError(f"{output.name} is not empty: choose another folder or add --overwrite")
    return {path.name for path in there if _is_patient(path) or path.name == _SHEET}


def _is_patient(path: Path) -> bool:
    return (path / "recipe.json").is_file() and not is_aside(path)


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

    def write(case: "PhantomCase") -> None:
        folder = output / case.recipe.name
        write_case(case, folder, file_format, overwrite=_is_patient(folder))  # type: ignore[arg-type]

    case = make_case(recipe)
    write(case)
    pictures = strip(case) if sheet else None
    if noncontrast:
        write(make_noncontrast_twin(recipe))
    return pictures
