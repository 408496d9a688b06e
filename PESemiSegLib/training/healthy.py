"""Free labels: a scan that is known to hold no opacity is lung where lung is, and background elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from PESemiSegLib.atomic import whole_folder
from PESemiSegLib.cohorts.build import with_fingerprints
from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.inference.lungs import AIR_HU, lung_mask, to_coarse
from PESemiSegLib.models.kinds import OPACITIES
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume
from PESemiSegLib.volumes.write import write_nifti

STYLE = "automatic"
_AROUND = np.ones((1, 3, 3), bool)
_VESSEL_MM = 5.0  # wider ones belong to the hilum


def healthy_label(volume: Volume, label: int) -> np.ndarray:
    """uint8 (z, y, x): `label` in the lungs with their finer vessels, 0 elsewhere.

    The lungs that the program finds on a coarse grid say where; in them air below -320 HU, closed slice by
    slice over `_VESSEL_MM`. Raises InputError where no lung is found.
    """
    lungs = lung_mask(volume.hu, volume.spacing_mm)
    if not lungs.found:
        raise InputError("No lung was found in the scan: it cannot be labelled by itself.")
    where = [
        to_coarse(np.arange(n), step, size)
        for n, step, size in zip(volume.shape, lungs.stride, lungs.mask.shape, strict=True)
    ]
    near = ndimage.binary_dilation(lungs.solid[np.ix_(*where)], _AROUND)
    air = (volume.hu < AIR_HU) & near
    steps = max(1, round(_VESSEL_MM / 2 / min(volume.spacing_mm[:2])))
    closed = (ndimage.binary_closing(np.pad(plane, steps), iterations=steps) for plane in air)
    found = [ndimage.binary_fill_holes(plane[steps:-steps, steps:-steps]) for plane in closed]
    return np.stack(found).astype(np.uint8) * np.uint8(label)


def label_healthy(
    scans: Manifest,
    output: Path,
    label: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Label the training scans of a manifest; writes the manifest `output` and a folder of masks beside it.

    Files are called by hashes. Raises InputError, also for a scan without lungs, and OutputError; then
    nothing is written.
    """
    cases, folder = scans.select("train"), output.parent / f"{output.stem}_masks"
    if not len(cases):
        raise InputError("There is no training scan to label.")
    labelled: list[Case] = []
    try:
        with whole_folder(folder) as aside:
            for done, case in enumerate(cases, start=1):
                volume = read(case.image)
                name = hashlib.sha256(f"{case.key}|{case.image.resolve()}".encode()).hexdigest()[:16]
                write_nifti(aside / f"{name}.nii.gz", healthy_label(volume, label), volume.grid)
                mask = folder / f"{name}.nii.gz"
                labelled.append(
                    replace(
                        case,
                        mask=mask,
                        lesions=None,
                        role="labelled",
                        label_style=STYLE,
                        pe="",
                        marks=OPACITIES.masks,
                    )
                )
                progress(done, len(cases))
    except OSError as error:
        raise OutputError(f"The folder {folder.name} cannot be written: {error.strerror}.") from error
    manifest = with_fingerprints(Manifest(tuple(labelled), output.stem))
    write_manifest(manifest, output)
    return manifest
