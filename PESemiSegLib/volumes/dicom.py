"""Reads a CT from DICOM: scan, choose a stack, decode it, place it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom_geometry import stack_geometry
from .dicom_headers import Plane
from .dicom_pixels import load
from .dicom_scan import Problem, Scan, scan
from .dicom_series import Stack, build_stacks, choose
from .native import interpolated_slices
from .volume import SeriesFacts, Volume, build_volume
from .wording import counted, some


def read_dicom(path: Path, series: str | int | None = None, *, labels: bool = False) -> Volume:
    """Read one CT series of a folder, or of a file; labels: as in `read`.

    Raises:
        InputError: if there is no usable series, several to choose from, or nothing that can be decoded.
    """
    found = scan(path)
    _require_images(path, found)
    stacks, warnings = build_stacks(found.planes)
    stack = choose(stacks, series, path.name, found.problems)
    hu, failed, pixel_warnings = load(stack.planes)
    planes = stack.planes
    if failed:
        names = [planes[i].path.name for i in failed]
        if len(failed) == len(planes):
            raise InputError(
                f"{names[0]}: its pixels cannot be decoded: damaged, or in a format that is not supported "
                f"({_syntax_name(planes[0])}); export the series again, uncompressed"
            )
        found.problems.extend(Problem(name, "its pixels cannot be decoded") for name in names)
        hu = np.delete(hu, failed, axis=0)
        planes = [plane for i, plane in enumerate(planes) if i not in set(failed)]

    geometry = stack_geometry(planes, path.name)
    positions = geometry.positions
    if positions is not None:  # bring the irregular slices onto the regular stack
        wanted = np.interp(np.arange(geometry.count), positions, np.arange(len(planes)))
        hu = hu[np.rint(wanted).astype(int)] if labels else interpolated_slices(hu, wanted)
    planes, positions = _source_order(planes, positions)
    warnings += [*_problem_warnings(found), *([] if series else _choice_warnings(stack, stacks))]
    warnings += [*_header_warnings(planes), *geometry.warnings, *pixel_warnings]
    return build_volume(
        hu,
        geometry.affine,
        _facts(path, stack, stacks, planes, warnings, found),
        writes_stack=geometry.positions is None,
        slice_positions=positions,
        labels=labels,
    )


def _require_images(path: Path, found: Scan) -> None:
    """Say what is wrong where a path holds no DICOM object at all."""
    if found.planes:
        return
    if found.problems:
        raise InputError(f"{some([str(p) for p in found.problems], most=1)}; copy or export it again")
    if not path.is_dir():
        raise InputError(f"{path.name}: not an image that can be read; give DICOM, NIfTI, NRRD or MHA")
    raise InputError(
        f"{path.name}: no DICOM images in this folder ({found.foreign} other files); give the folder of the "
        "images, or a NIfTI, NRRD or MHA file"
    )


def _syntax_name(plane: Plane) -> str:
    from pydicom.uid import UID

    return UID(plane.pixels.transfer_syntax).name if plane.pixels else "unknown"


def _source_order(planes: list[Plane], positions: np.ndarray | None) -> tuple[list[Plane], np.ndarray | None]:
    """Bring the frames of a multi-frame file back into file order; single-frame files stay sorted."""
    if all(plane.pixels is None or plane.pixels.frames == 1 for plane in planes):
        return planes, positions
    order = sorted(range(len(planes)), key=lambda i: (str(planes[i].path), planes[i].frame))
    if order != list(range(len(planes))):
        positions = (np.arange(len(planes), dtype=np.float64) if positions is None else positions)[order]
    return [planes[i] for i in order], positions


def _facts(
    path: Path, stack: Stack, stacks: list[Stack], planes: list[Plane], warnings: list[str], found: Scan
) -> SeriesFacts:
    first = planes[0]
    files = tuple(dict.fromkeys(plane.path for plane in planes))
    frames = any(plane.pixels is not None and plane.pixels.frames > 1 for plane in planes)
    if frames and len(files) > 1:  # a DICOM SEG cannot refer to frames of several files
        files, frames = (), False
    contrast = {plane.contrast_agent for plane in planes}
    return SeriesFacts(
        kind="dicom",
        source_name=path.name,
        modality=first.modality or "CT",
        contrast_agent=True if True in contrast else False if False in contrast else None,
        description=first.description,
        series=stack.label,
        warnings=tuple(dict.fromkeys(warnings)),
        other_series=tuple(f"[index:{n}] {s.label}" for n, s in enumerate(stacks, start=1) if s is not stack),
        slice_thickness_mm=first.slice_thickness_mm,
        kvp=first.kvp,
        left_out=tuple(problem.file for problem in found.problems),
        source_files=files,
        source_frames=tuple(plane.frame + 1 for plane in planes) if frames else (),
    )


def _problem_warnings(found: Scan) -> list[str]:
    if not found.problems:
        return []
    count = counted(len(found.problems), "file")
    reasons = list(dict.fromkeys(problem.reason for problem in found.problems))
    return [f"Left out, because not readable: {count} ({some(reasons, joint='; ')})."]


def _choice_warnings(stack: Stack, stacks: list[Stack]) -> list[str]:
    rivals = [other for other in stacks if other is not stack and not other.unfit]
    if not rivals:
        return []
    return [f"There are {len(rivals) + 1} CT stacks to choose from; taken was {stack.label}."]


def _header_warnings(planes: list[Plane]) -> list[str]:
    """What the headers leave out or admit."""
    warnings = []
    missing = sorted({name for plane in planes for name in plane.missing})
    if missing:
        warnings.append(
            f"The DICOM headers lack {', '.join(missing)}; the images were taken for one CT series and "
            "ordered by position."
        )
    if any(plane.slope in (None, 0) or plane.intercept is None for plane in planes):
        warnings.append(
            "The headers do not say how pixels become Hounsfield units; pixels were taken as they are."
        )
    if any(plane.lossy for plane in planes):
        warnings.append("The images were compressed with loss: small differences to the scanner's images.")
    derived = next((p for p in planes if p.image_type[:1] == ("DERIVED",)), None)
    if derived is not None:
        words = " ".join(derived.image_type[2:]).lower()
        warnings.append(
            f"These are derived images ({words or 'calculated'}), not the scanner's own reconstruction."
        )
    return warnings
