"""Volumes in one file: NRRD and MetaImage through SimpleITK, NIfTI through its own reader."""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .file_values import hu_from_slabs
from .grid import FloatArray, Grid, make_affine
from .nifti import read_nifti
from .volume import SeriesFacts, Volume, build_volume

PATIENT_SPACES = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior")
PLAUSIBLE_SPACING_MM = (0.05, 25.0)
_HEADERS = (".mhd", ".nhdr")  # their voxels lie in files of their own
_DATA_FILE = re.compile(r"(?im)^(?:ElementDataFile|data ?file)[ \t]*[=:][ \t]*(.+?)\s*$")
_HEADER_BYTES = 1 << 20


def read_file(path: Path, kind: str, *, labels: bool = False) -> Volume:
    """Read a volume of `kind` nifti, nrrd or metaimage; labels: as in `read`.

    Raises:
        InputError: if it is damaged, does not say how the patient lies, or is no single grey volume.
    """
    _require_readable(path)
    stack, affine, warnings = read_nifti(path) if kind == "nifti" else _read_with_itk(path, kind)
    grid = Grid((stack.shape[0], stack.shape[1], stack.shape[2]), affine)
    low, high = PLAUSIBLE_SPACING_MM
    if min(grid.spacing_mm) < low or max(grid.spacing_mm) > high:
        spacing = " x ".join(f"{s:.3g}" for s in grid.spacing_mm)
        raise InputError(f"{path.name}: voxels of {spacing} mm cannot be a CT; check the file's units")
    if grid.is_sheared:
        warnings.append(
            f"The file's axes are not at right angles ({grid.shear_degrees:.1f} degrees of shear). It "
            "was brought to a straight grid by interpolation, and results are written on that grid."
        )
    facts = SeriesFacts(kind=kind, source_name=path.name, warnings=tuple(warnings))
    return build_volume(stack, affine, facts, labels=labels)


def files_of(path: Path) -> list[Path]:
    """An image file, and after a header (.mhd, .nhdr) the files beside it that its voxels lie in.

    Those that are there: what is missing, reading says. Raises OSError.
    """
    if not path.name.lower().endswith(_HEADERS):
        return [path]
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode("utf-8", "replace")
    named = _DATA_FILE.search(text)
    if named is None or named[1].upper() == "LOCAL":
        return [path]
    names = [named[1]]
    if named[1].upper().split()[0] == "LIST":  # one a line, to the end
        names = [line.strip() for line in text[named.end() :].splitlines()]
    elif "%" in named[1]:  # slice%03d.raw 1 300 1
        pattern = re.sub(r"%\d*[a-z]", "*", named[1].split()[0])
        names = sorted(glob(pattern, root_dir=path.parent))
    return [path, *(path.parent / name for name in names if name and (path.parent / name).is_file())]


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except PermissionError as error:
        raise InputError(f"{path.name}: no permission to read it; check the file's permissions") from error
    except OSError as error:
        raise InputError(f"{path.name}: it cannot be opened ({error.strerror})") from error
    if empty:
        raise InputError(f"{path.name}: it is empty (0 bytes); copy or export it again")


def _read_with_itk(path: Path, kind: str) -> tuple[npt.NDArray[np.int16], FloatArray, list[str]]:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NrrdImageIO" if kind == "nrrd" else "MetaImageIO")
    try:
        reader.ReadImageInformation()
        _require_grey_volume(path, reader.GetNumberOfComponents(), reader.GetSize())
        space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
        warnings = _orientation_warnings(path, kind, space)
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{path.name}: its data is truncated, damaged or missing; copy or export it again"
        ) from error
    while image.GetDimension() > 3:
        image = image[..., 0]
    affine = make_affine(image.GetSpacing(), image.GetOrigin(), np.reshape(image.GetDirection(), (3, 3)))
    values = sitk.GetArrayViewFromImage(image)
    planes = (values[k : k + 1] for k in range(len(values)))
    stack, more = hu_from_slabs(planes, values.shape, path.name)
    return stack, affine, warnings + more


def _require_grey_volume(path: Path, components: int, size: tuple[int, ...]) -> None:
    if components != 1:
        raise InputError(
            f"{path.name}: it holds {components} values per voxel (colours or several volumes); give one CT"
        )
    volumes = int(np.prod(size[3:]))
    if volumes > 1:
        raise InputError(f"{path.name}: it holds {volumes} volumes; give a file with one of them")
    if len(size) < 3:
        raise InputError(f"{path.name}: it is a single picture, not a volume")


def _orientation_warnings(path: Path, kind: str, space: str) -> list[str]:
    """Refuse an NRRD that does not name patient axes; MetaImage has a default (LPS), which is said."""
    if kind == "nrrd":
        if space not in PATIENT_SPACES:
            raise InputError(
                f"{path.name}: it does not say how the patient lies (space is {space or 'missing'}); save it "
                "again with left-posterior-superior or right-anterior-superior axes"
            )
        return []
    with path.open("rb") as file:
        head = file.read(4096).decode("latin-1")
    if re.search(r"^(TransformMatrix|Rotation|Orientation)\s*=", head, re.MULTILINE):
        return []
    return ["The file does not say how the patient lies; x was taken to run to the left, y back and z up."]
