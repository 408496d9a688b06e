"""Writing a made-up patient: the scan as DICOM series or NIfTI, its exact masks, and the recipe."""

import json
from pathlib import Path
from typing import Literal

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.errors import ConfigError, OutputError
from PESemiSegLib.phantom.dicom import write_series
from PESemiSegLib.phantom.patient import PhantomCase
from PESemiSegLib.plain import plain
from PESemiSegLib.volumes.write import output_error, write_nifti

Format = Literal["dicom", "nifti"]

MASKS = ("clot", "clot_exact", "artery", "lesions", "arteries")


def write_case(case: PhantomCase, folder: Path, fmt: Format = "dicom", *, overwrite: bool = False) -> Path:
    """Write one patient into ``folder``, which must not exist unless ``overwrite``.

    ``ct/`` (a DICOM series) or ``ct.nii.gz``; ``clot.nii.gz`` as the site's annotator drew it; the exact
    ``clot_exact``, ``artery``, ``lesions`` (instance ids) and ``arteries`` (aorta 1, pulmonary artery 2) as
    .nii.gz; ``opacities.nii.gz`` (ground glass 1, consolidation 2, healthy lung 3) where the recipe asks for
    them; ``recipe.json``, which reproduces all of it, and ``facts.json``. Written aside and moved into place.
    Returns the folder.

    Raises OutputError if it exists or cannot be written, ConfigError for another format.
    """
    if fmt not in ("dicom", "nifti"):
        raise ConfigError(f"there is no format {fmt!r}: choose dicom or nifti")
    folder = Path(folder)
    try:
        with whole_folder(folder, overwrite=overwrite) as aside:
            _fill(case, aside, fmt)
    except FileExistsError as error:
        raise OutputError(
            f"{folder.name} exists already: choose another folder or allow overwriting"
        ) from error
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def _fill(case: PhantomCase, folder: Path, fmt: Format) -> None:
    if fmt == "dicom":
        write_series(case, folder / "ct")
    else:
        write_nifti(folder / "ct.nii.gz", case.hu, case.grid, description="made-up CT pulmonary angiogram")
    for name in MASKS:
        write_nifti(folder / f"{name}.nii.gz", getattr(case, name), case.grid)
    if case.opacities is not None:
        write_nifti(folder / "opacities.nii.gz", case.opacities, case.grid)
    (folder / "recipe.json").write_text(case.recipe.to_json(), encoding="utf-8")
    (folder / "facts.json").write_text(json.dumps(plain(case.facts), indent=2) + "\n", encoding="utf-8")
