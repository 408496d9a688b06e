"""One manifest for a run: the labelled cohorts, and the scans of folders or CSVs as unlabelled ones."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

from PESemiSegLib.cohorts.build import BuildOptions, build_manifest, with_fingerprints
from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest, write_manifest
from PESemiSegLib.errors import InputError

_LOG = logging.getLogger(__name__)
MANIFEST = "manifest.csv"
Progress = Callable[[int, int], None]


def gather(
    labelled: Sequence[Path],
    unlabelled: Sequence[Path],
    folder: Path,
    site: str = "new",
    *,
    keep: bool = False,
    marks: str = "emboli",
    accept: Callable[[Manifest], None] = lambda cohort: None,
    progress: Progress = lambda done, total: None,
    fingerprints: bool = True,
) -> Path:
    """Write `manifest.csv` into the folder and return its path.

    labelled: manifests, or folders that `pesemiseg phantom` wrote. unlabelled: manifests, or folders of
    scans. keep: leave the one that is there as it is, for a run that has begun with it. marks: what the masks
    mark, see `Case`; it says which scans of made-up patients are taken. accept: sees the cohort and may
    raise, before anything is written. Fingerprints of voxels are taken, so that a scan which is in both, or
    in two splits, is found in whatever format; and so is a labelled patient whose folder lies among the
    unlabelled scans of the same site. progress: called after each scan that is read for that.
    fingerprints: False leaves that out, for a dry run. Raises InputError, OutputError.
    """
    path = folder / MANIFEST
    if keep and path.exists():
        return path
    known_ones = [
        from_phantom(source, marks=marks) if source.is_dir() else read_manifest(source) for source in labelled
    ]
    names = {(c.site, _pseudonym(c)): c.patient for cohort in known_ones for c in cohort}
    others = [unlabelled_scans(source, site, marks) for source in unlabelled]
    cohort = reduce(Manifest.merged, [*known_ones, *(_recognised(scans, names) for scans in others)])
    accept(cohort)
    known = with_fingerprints(cohort, progress) if fingerprints else cohort
    write_manifest(known, path)
    if left_out := len(cohort.select(role="unlabelled")) - len(known.select(role="unlabelled")):
        _LOG.warning(
            "%d unlabelled scan(s) are copies or cannot be read, and are left out; %s says why",
            left_out,
            MANIFEST,
        )
    return path


def unlabelled_scans(source: Path, site: str = "new", marks: str = "emboli") -> Manifest:
    """The scans of a manifest or a folder, without masks, for training; a manifest's val and test rows stay.

    A folder: what `pesemiseg phantom` wrote, or a tree of scans as `cohort make` finds them, masks left out
    and a hash in the place of each patient's folder, which may be called as the patient is. Nothing is read
    yet. Raises InputError.
    """
    if source.is_file():
        return Manifest(tuple(_bare(case) for case in read_manifest(source)), source.name)
    if any(source.glob("*/recipe.json")):
        cohort = from_phantom(source, validation=0.0, role="unlabelled", marks=marks)
        return Manifest(tuple(_bare(case) for case in cohort))
    if not source.is_dir():
        raise InputError(f"{source.name} is neither a manifest nor a folder of scans.")
    options = BuildOptions(masks=source, site=site, role="unlabelled", open_scans=False)  # no mask is written
    scans = build_manifest(source, options, layout="scans")
    return Manifest(tuple(replace(case, patient=_pseudonym(case)) for case in scans), source.name)


def _pseudonym(case: Case) -> str:
    """The same for the same patient of the same site, whichever scans it is found among."""
    return hashlib.sha256(case.key.encode()).hexdigest()[:10]


def _recognised(scans: Manifest, names: Mapping[tuple[str, str], str]) -> Manifest:
    """The scans, with patients of the labelled cohorts called as they are there."""
    cases = (replace(case, patient=names.get((case.site, case.patient), case.patient)) for case in scans)
    return Manifest(tuple(cases), scans.source_name)


def _bare(case: Case) -> Case:
    """A training case without its mask; others as they are."""
    if case.split != "train" or case.role == "excluded":
        return case
    return replace(case, role="unlabelled", mask=None, lesions=None, label_style="")
