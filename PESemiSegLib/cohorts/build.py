"""Makes a manifest: opens every scan of a data set, brings its mask onto the scan's grid, and checks both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from PESemiSegLib.cohorts.adapters import adapter_for
from PESemiSegLib.cohorts.adapters.base import Adapter, Entry
from PESemiSegLib.cohorts.copies import EMPTY, one_patient, without_copies
from PESemiSegLib.cohorts.fingerprint import voxel_fingerprint
from PESemiSegLib.cohorts.labelmap import read_on_grid
from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.marked import Marked
from PESemiSegLib.cohorts.phases import NO_CONTRAST
from PESemiSegLib.cohorts.placement import Placement, check_placement
from PESemiSegLib.errors import ConfigError, InputError, OutputError
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.segments import LABELS
from PESemiSegLib.volumes.volume import Volume

Progress = Callable[[int, int, Case], None]


@dataclass(frozen=True)
class BuildOptions:
    """How a data set becomes a manifest.

    masks: folder for the masks that must be written anew. site, label_style: empty takes the data set's own.
    fallback_site: of a data set that names none; empty takes the folder's name, which may be a patient's.
    role: "auto" (labelled where there is a mask), "labelled" or "unlabelled" (masks are left out).
    open_scans: read every scan, for its fingerprint and to see that it can be used; off for large pools.
    """

    masks: Path
    site: str = ""
    label_style: str = ""
    role: str = "auto"
    open_scans: bool = True
    fallback_site: str = ""

    def __post_init__(self) -> None:
        if self.role not in ("auto", "labelled", "unlabelled"):
            raise ConfigError(f"The role '{self.role}' is not one of auto, labelled, unlabelled.")


def build_manifest(
    source: Path | str, options: BuildOptions, *, layout: str = "auto", progress: Progress | None = None
) -> Manifest:
    """The manifest of a data set, everything in the split `train`.

    A scan that cannot be used is kept, excluded, with the reason in `problems`; so are copies of a scan.
    Patients of a site who have a scan in common are one.

    Raises InputError (no data set there, or no scan of it can be used), ConfigError, OutputError.
    """
    cases = cases_of(source, options, layout=layout, progress=progress)
    return Manifest(tuple(without_copies(one_patient(cases))), Path(os.path.abspath(source)).name)


def cases_of(
    source: Path | str, options: BuildOptions, *, layout: str = "auto", progress: Progress | None = None
) -> list[Case]:
    """The rows of a data set before `one_patient` and `without_copies`, for several that become one manifest.

    Raises as `build_manifest` does.
    """
    source = Path(os.path.abspath(source))  # "." has no name, and a patient may get the folder's
    adapter = adapter_for(source, layout)
    try:
        entries = list(adapter.entries(source))
    except OSError as error:
        raise InputError(f"{source.name} cannot be looked into: {error.strerror}.") from error
    cases = []
    for done, entry in enumerate(entries, start=1):
        cases.append(_case(entry, adapter, source, options))
        if progress is not None:
            progress(done, len(entries), cases[-1])
    if all(case.role == "excluded" for case in cases):
        raise InputError(f"No scan of {source.name} can be used; the first: {cases[0].problems[0]}")
    return cases


def with_fingerprints(
    manifest: Manifest, progress: Callable[[int, int], None] = lambda done, total: None
) -> Manifest:
    """The manifest with missing fingerprints filled in; excluded rows stay, but for the plain scans of pairs.

    Every such scan is read: the fingerprint is of its voxels, as `build_manifest` takes it. Unlabelled scans
    that cannot be read, or are copies of each other, are excluded with the reason; one of both roles, or in
    two splits, is refused. progress: called after each. Raises InputError.
    """
    cases = list(manifest)
    missing = [
        n
        for n, case in enumerate(cases)
        if not case.fingerprint and (case.role != "excluded" or NO_CONTRAST in case.problems)
    ]
    for done, n in enumerate(missing, start=1):
        try:
            cases[n] = replace(cases[n], fingerprint=voxel_fingerprint(read(cases[n].image).hu))
        except InputError as error:
            if cases[n].role != "unlabelled":
                raise
            cases[n] = replace(cases[n], role="excluded", problems=(*cases[n].problems, str(error)))
        progress(done, len(missing))
    return Manifest(tuple(without_copies(cases, ("unlabelled",))), manifest.source_name)


def inspect(case: Case) -> tuple[Case, list[str]]:
    """A case of a manifest with the fingerprint that its scan has now, and what is wrong with its files.

    Nothing wrong is an empty list. A scan that cannot be read keeps the fingerprint of the manifest.
    """
    try:
        volume = read(case.image)
    except InputError as error:
        return case, [str(error)]
    wrong = []
    opened = replace(case, fingerprint=voxel_fingerprint(volume.hu))
    if case.fingerprint.startswith("v-") and case.fingerprint != opened.fingerprint:
        wrong.append(f"{case.image.name} is another scan than when the manifest was made")
    try:
        mask = None if case.mask is None else read_on_grid(case.mask, volume)
        if case.lesions is not None:
            read_on_grid(case.lesions, volume)
    except InputError as error:
        return opened, [*wrong, str(error)]
    if mask is None:
        return opened, wrong
    placement = _placed(volume, mask, case.marks)
    found = (_contradiction(case, mask), placement.misplaced, placement.doubt)
    return opened, wrong + [text for text in found if text]


def _case(entry: Entry, adapter: Adapter, source: Path, options: BuildOptions) -> Case:
    """The row of one scan; whatever is wrong with the scan or its mask excludes it and is said."""
    labelled = entry.mask is not None and options.role != "unlabelled"
    case = Case(
        patient=entry.patient,
        site=options.site or entry.site or adapter.site or options.fallback_site or _name(source),
        image=entry.image,
        role="labelled" if labelled else "unlabelled",
        label_style=(options.label_style or entry.label_style or adapter.label_style) if labelled else "",
        problems=entry.notes,
        pe=entry.pe,
        marks=entry.marks,
    )
    problem = entry.problem
    if options.role == "labelled" and entry.mask is None and not problem:
        problem = "no mask"
    if problem:
        return replace(case, role="excluded", problems=(*case.problems, problem))
    try:
        if labelled or options.open_scans:
            return _opened(case, entry, options, labelled)
    except InputError as error:
        return replace(case, role="excluded", problems=(*case.problems, str(error)))
    return case


def _opened(case: Case, entry: Entry, options: BuildOptions, labelled: bool) -> Case:
    volume = read(case.image)
    case = replace(
        case,
        fingerprint=voxel_fingerprint(volume.hu),
        problems=(*case.problems, *(text.rstrip(".") for text in volume.facts.warnings)),
    )
    if volume.hu.min() == volume.hu.max():
        case = replace(case, problems=(*case.problems, EMPTY))
    if not labelled or entry.mask is None:
        return case
    read_mask = (
        Marked(read_on_grid(entry.mask, volume)) if isinstance(entry.mask, Path) else entry.mask(volume)
    )
    mask = read_mask.labels
    if mask.shape != volume.shape:
        raise InputError(f"the mask has the shape {mask.shape}, its scan {volume.shape}")
    placement = _placed(volume, mask, case.marks)
    if placement.misplaced:
        raise InputError(f"{placement.misplaced}; the mask is refused")
    # where the lesions are known apart from the mask, its annotator may have missed them all
    if entry.lesions is None and (wrong := _contradiction(case, mask)):
        raise InputError(wrong)
    path = entry.mask if isinstance(entry.mask, Path) else _written(mask, volume, case, options.masks)
    said = tuple(filter(None, (read_mask.note, placement.doubt)))
    if case.marks != "emboli":
        return replace(case, mask=path, problems=(*case.problems, *said))
    numbered = entry.instances and int(mask.max()) > 1
    if not mask.any():
        said = (*said, "the mask marks nothing: taken for a patient without emboli")
    return replace(
        case,
        mask=path,
        lesions=path if numbered else entry.lesions,
        pe="yes" if (mask > 0).any() else "no",
        problems=(*case.problems, *said),
    )


def _contradiction(case: Case, mask: np.ndarray) -> str:
    """What is wrong where a mask of emboli says otherwise than `pe`, which may be empty: then nothing."""
    marked = bool((mask > 0).any())
    if case.marks != "emboli" or not case.pe or marked == (case.pe == "yes"):
        return ""
    return f"pe is '{case.pe}', but the mask marks {'emboli' if marked else 'nothing'}"


def _placed(volume: Volume, mask: np.ndarray, marks: str) -> Placement:
    """Whether a mask can be what it is said to be: emboli by their density, others by their labels."""
    if marks == "emboli":
        return check_placement(volume.hu, mask)
    known, lowest, highest = len(LABELS[marks]), int(mask.min()), int(mask.max())
    if lowest >= 0 and highest <= known:
        return Placement()
    return Placement(f"the mask holds labels from {lowest} to {highest}, and there are {known} of {marks}")


def _written(mask: np.ndarray, volume: Volume, case: Case, folder: Path) -> Path:
    """The mask as NIfTI under a name that tells nothing of the patient."""
    from PESemiSegLib.volumes.write import write_nifti

    name = hashlib.sha256(f"{case.key}|{case.image.resolve()}".encode()).hexdigest()[:16]
    path = folder / f"{name}.nii.gz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder.name} cannot be made: {error.strerror}") from error
    write_nifti(path, mask.astype(np.int16 if mask.max() > 255 else np.uint8), volume.grid)
    return path


def _name(source: Path) -> str:
    """The site of last resort: the folder's name, or the list's without its suffix."""
    return Path(os.path.abspath(source)).stem or "site"
