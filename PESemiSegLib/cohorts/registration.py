"""Brings a contrast scan onto the non-contrast scan of the same patient: affine, then B-spline (SimpleITK).

The CPMN paper uses LapIRN for this; here nothing has to be learnt. Both scans are compared on a coarse grid,
with HU cut off at soft tissue, so that enhanced and plain blood look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from PESemiSegLib.cohorts.registration_fit import (
    SEEN_HU,
    centre_on_centre,
    coarse,
    fit_affine,
    fit_bspline,
    image_of,
    near_lungs,
    reason_of,
)
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.grid import Grid

if TYPE_CHECKING:
    import SimpleITK as sitk

    from PESemiSegLib.volumes.volume import Volume

log = logging.getLogger(__name__)

LEAST_OVERLAP = 0.9  # Dice of the lungs
LEAST_NCC = 0.8
LEAST_COVERED = 0.7
MOST_FOLDED = 1e-4  # share of voxels with a Jacobian determinant of 0 or less

Lungs = tuple[np.ndarray, Grid]
"""A mask of the lungs, bool (z, y, x), and the grid that it lies on."""


@dataclass(frozen=True)
class Agreement:
    """How well two scans lie on each other, where both show something.

    overlap: Dice of the lungs. ncc: normalised cross-correlation around them. covered: share of the plain
    scan's lungs that the contrast scan shows.
    """

    overlap: float
    ncc: float
    covered: float


@dataclass(frozen=True)
class Registration:
    """A transform from the plain scan's patient space (LPS mm) into the contrast scan's, and how good it is.

    folded: share of the voxels around the lungs at which space is folded. smallest: least determinant of the
    Jacobian there.
    """

    transform: sitk.Transform = field(repr=False)
    before: Agreement
    after: Agreement
    folded: float
    smallest: float

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, in words; empty for a good one."""
        wrong = []
        if self.after.overlap < LEAST_OVERLAP:
            wrong.append(
                f"the lungs overlap by {self.after.overlap:.2f} only ({LEAST_OVERLAP:g} is asked for)"
            )
        if self.after.covered < LEAST_COVERED:
            wrong.append(f"the contrast scan shows {self.after.covered:.0%} of the plain one's lungs only")
        if self.after.ncc < max(LEAST_NCC, self.before.ncc - 0.01):
            was = f"{self.before.ncc:.2f} before"
            wrong.append(f"the scans are hardly alike (correlation {self.after.ncc:.2f}, {was})")
        if self.folded > MOST_FOLDED:
            wrong.append(f"space is folded at {self.folded:.2%} of the voxels")
        return wrong

    def require(self) -> None:
        """Raise InputError, in one line, unless the registration can be used."""
        if problems := self.problems:
            raise InputError(
                f"the scans could not be registered: {'; '.join(problems)}. Are they of one patient?"
            )

    def figures(self) -> dict[str, float]:
        """The check's figures by name."""
        return {
            "lungs_overlap_before": round(self.before.overlap, 4),
            "lungs_overlap": round(self.after.overlap, 4),
            "ncc_before": round(self.before.ncc, 4),
            "ncc": round(self.after.ncc, 4),
            "covered": round(self.after.covered, 4),
            "folded": round(self.folded, 6),
            "smallest_jacobian": round(self.smallest, 4),
        }


def register(
    contrast: Volume,
    plain: Volume,
    find_lungs: Callable[[Volume], Lungs],
    *,
    check: Callable[[], None] = lambda: None,
) -> Registration:
    """Register `contrast` (moving) to `plain` (fixed); the same scans give the same transform.

    The lungs' centres are laid on each other, then an affine map and a B-spline are fitted by mean squares.
    The B-spline is left out where it does not make the scans more alike.
    The result is not judged: ask for its `problems`, or call `require`.

    Args:
        find_lungs: the lungs of a scan, as `inference.lungs` finds them.
        check: called now and then; may raise, to stop.

    Raises:
        InputError: no lungs in one of the scans, or nothing to compare.
    """
    import SimpleITK as sitk

    fixed, moving = coarse(plain), coarse(contrast)
    lungs = [image_of(*find_lungs(volume)) for volume in (plain, contrast)]
    if any(not sitk.GetArrayViewFromImage(image).any() for image in lungs):
        raise InputError("the scans cannot be registered: no lungs were found in one of them")
    near = near_lungs(sitk.Resample(lungs[0], fixed, sitk.Transform(), sitk.sitkNearestNeighbor))
    start = centre_on_centre(*lungs)
    check()
    try:
        affine = fit_affine(fixed, moving, near, start, check)
        check()
        bent = fit_bspline(fixed, moving, near, affine, check)
    except RuntimeError as error:
        log.debug("SimpleITK gave up", exc_info=True)
        check()
        raise InputError(f"the scans cannot be registered: {reason_of(error)}") from error
    fitted = [affine, sitk.CompositeTransform([affine, bent])]  # the B-spline first
    agreed = [_agreement(fixed, moving, lungs, near, transform) for transform in fitted]
    best = 1 if agreed[1].ncc > agreed[0].ncc else 0  # what the bending does not improve is not bent
    folded, smallest = _folding(fitted[best], near)
    return Registration(
        fitted[best],
        before=_agreement(fixed, moving, lungs, near, sitk.Transform()),
        after=agreed[best],
        folded=folded,
        smallest=smallest,
    )


def compare(contrast: Volume, plain: Volume, find_lungs: Callable[[Volume], Lungs]) -> Registration:
    """The same check of two scans that are registered already: the transform is the identity."""
    import SimpleITK as sitk

    fixed, moving = coarse(plain), coarse(contrast)
    lungs = [image_of(*find_lungs(volume)) for volume in (plain, contrast)]
    near = near_lungs(sitk.Resample(lungs[0], fixed, sitk.Transform(), sitk.sitkNearestNeighbor))
    same = _agreement(fixed, moving, lungs, near, sitk.Transform())
    return Registration(sitk.Transform(), same, same, folded=0.0, smallest=1.0)


def _agreement(
    fixed: sitk.Image,
    moving: sitk.Image,
    lungs: list[sitk.Image],
    near: sitk.Image,
    transform: sitk.Transform,
) -> Agreement:
    import SimpleITK as sitk

    everywhere = sitk.Cast(moving > SEEN_HU[0] - 1, sitk.sitkFloat32)
    there, shown, theirs = (
        sitk.GetArrayFromImage(sitk.Resample(image, fixed, transform, how, 0.0))
        for image, how in (
            (moving, sitk.sitkLinear),
            (everywhere, sitk.sitkLinear),
            (lungs[1], sitk.sitkNearestNeighbor),
        )
    )
    mine = sitk.GetArrayFromImage(sitk.Resample(lungs[0], fixed, sitk.Transform(), sitk.sitkNearestNeighbor))
    both = shown > 0.99
    region = sitk.GetArrayViewFromImage(near).astype(bool) & both
    hu = sitk.GetArrayViewFromImage(fixed)[region], there[region]
    ncc = float(np.corrcoef(*hu)[0, 1]) if len(hu[0]) > 1 and min(map(np.ptp, hu)) > 0 else 0.0
    here, other = (mine > 0) & both, (theirs > 0) & both
    total = int(here.sum() + other.sum())
    overlap = 2.0 * int((here & other).sum()) / total if total else 0.0
    return Agreement(overlap, ncc, float(here.sum() / max(1, (mine > 0).sum())))


def _folding(transform: sitk.Transform, near: sitk.Image) -> tuple[float, float]:
    """Share of the region where the transform folds space, and its least Jacobian determinant there."""
    import SimpleITK as sitk

    moves = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        near.GetSize(),
        near.GetOrigin(),
        near.GetSpacing(),
        near.GetDirection(),
    )
    determinant = sitk.GetArrayViewFromImage(sitk.DisplacementFieldJacobianDeterminant(moves))
    region = determinant[sitk.GetArrayViewFromImage(near).astype(bool)]
    return float((region <= 0).mean()), float(region.min())
