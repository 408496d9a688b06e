"""Brings a contrast scan onto the non-contrast scan of the same patient: affine, then B-spline (SimpleITK).

The CPMN paper uses LapIRN for this; here nothing has to be learnt. Both scans are compared on a coarse grid,
with HU cut off at soft tissue, so that enhanced and plain blood look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.grid import Grid, orthonormalised

if TYPE_CHECKING:
    import SimpleITK as sitk

    from PESemiSegLib.volumes.volume import Volume

log = logging.getLogger(__name__)

WORK_MM = 3.0  # grid on which the scans are compared
KNOTS_MM = 40.0  # distance of the B-spline's control points: coarser than a vessel, so that no clot is bent
SEEN_HU = (-1000.0, 100.0)  # enhanced blood is cut off to the brightness of plain blood and muscle
NEAR_LUNGS_MM = 15.0  # the region compared: lungs, mediastinum and diaphragm; arms and couch move otherwise

LEAST_OVERLAP = 0.9  # Dice of the lungs
LEAST_NCC = 0.8
MOST_FOLDED = 1e-4  # share of voxels with a Jacobian determinant of 0 or less

Lungs = tuple[np.ndarray, Grid]
"""A mask of the lungs, bool (z, y, x), and the grid that it lies on."""


@dataclass(frozen=True)
class Agreement:
    """How well two scans lie on each other: Dice of the lungs, normalised cross-correlation around them."""

    overlap: float
    ncc: float


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

    The lungs' centres are laid on each other, then an affine map and a B-spline are fitted by correlation.
    The result is not judged: ask for its `problems`, or call `require`.

    Args:
        find_lungs: the lungs of a scan, as `inference.lungs` finds them.
        check: called now and then; may raise, to stop.

    Raises:
        InputError: no lungs in one of the scans, or nothing to compare.
    """
    import SimpleITK as sitk

    fixed, moving = _coarse(plain), _coarse(contrast)
    lungs = [_image(*find_lungs(volume)) for volume in (plain, contrast)]
    if any(not sitk.GetArrayViewFromImage(image).any() for image in lungs):
        raise InputError("the scans cannot be registered: no lungs were found in one of them")
    near = _near(sitk.Resample(lungs[0], fixed, sitk.Transform(), sitk.sitkNearestNeighbor))
    start = _centres(*lungs)
    check()
    try:
        affine = _fit_affine(fixed, moving, near, start, check)
        check()
        bent = _fit_bspline(fixed, moving, near, affine, check)
    except RuntimeError as error:
        log.debug("SimpleITK gave up", exc_info=True)
        check()
        raise InputError(f"the scans cannot be registered: {_reason(error)}") from error
    both = sitk.CompositeTransform([affine, bent])  # the B-spline first
    folded, smallest = _folding(both, near)
    return Registration(
        both,
        before=_agreement(fixed, moving, lungs, near, sitk.Transform()),
        after=_agreement(fixed, moving, lungs, near, both),
        folded=folded,
        smallest=smallest,
    )


def compare(contrast: Volume, plain: Volume, find_lungs: Callable[[Volume], Lungs]) -> Registration:
    """The same check of two scans that are registered already: the transform is the identity."""
    import SimpleITK as sitk

    fixed, moving = _coarse(plain), _coarse(contrast)
    lungs = [_image(*find_lungs(volume)) for volume in (plain, contrast)]
    near = _near(sitk.Resample(lungs[0], fixed, sitk.Transform(), sitk.sitkNearestNeighbor))
    same = _agreement(fixed, moving, lungs, near, sitk.Transform())
    return Registration(sitk.Transform(), same, same, folded=0.0, smallest=1.0)


def warped(
    array: np.ndarray, grid: Grid, onto: Grid, registration: Registration, *, fill: float
) -> np.ndarray:
    """An array (z, y, x) on `grid` of the contrast scan, brought onto a grid of the plain one.

    Linear; a mask (bool or uint8) is moved as a share and cut at a half, which keeps its volume better than
    the nearest voxel. The dtype stays. `fill` where the contrast scan does not reach.
    """
    import SimpleITK as sitk

    mask = array.dtype in (np.dtype(bool), np.dtype(np.uint8))
    moving = _image(array.astype(np.float32) if mask else array, grid)
    empty = sitk.Image([int(n) for n in reversed(onto.shape)], sitk.sitkUInt8)
    moved = sitk.Resample(moving, _placed(empty, onto), registration.transform, sitk.sitkLinear, float(fill))
    values = sitk.GetArrayFromImage(moved)
    return (values >= 0.5).astype(array.dtype) if mask else np.asarray(values, dtype=array.dtype)


def _coarse(volume: Volume) -> sitk.Image:
    """The scan at about WORK_MM, averaged, with HU cut off to what both phases show alike."""
    import SimpleITK as sitk

    factors = [max(1, round(WORK_MM / mm)) for mm in volume.spacing_mm]
    small = sitk.BinShrink(_image(volume.hu, volume.grid), factors)
    return sitk.Clamp(sitk.Cast(small, sitk.sitkFloat32), sitk.sitkFloat32, *SEEN_HU)


def _image(array: np.ndarray, grid: Grid) -> sitk.Image:
    import SimpleITK as sitk

    values = array.view(np.uint8) if array.dtype == bool else array
    return _placed(sitk.GetImageFromArray(np.ascontiguousarray(values)), grid)


def _placed(image: sitk.Image, grid: Grid) -> sitk.Image:
    straight = orthonormalised(grid)
    image.SetSpacing(straight.spacing_mm)
    image.SetOrigin(straight.origin)
    image.SetDirection(straight.direction.ravel().tolist())
    return image


def _near(lungs: sitk.Image) -> sitk.Image:
    """Where the scans are compared: the lungs and NEAR_LUNGS_MM around them."""
    import SimpleITK as sitk

    distance = sitk.SignedMaurerDistanceMap(lungs, squaredDistance=False, useImageSpacing=True)
    return sitk.Cast(distance <= NEAR_LUNGS_MM, sitk.sitkUInt8)


def _centres(plain: sitk.Image, contrast: sitk.Image) -> sitk.AffineTransform:
    """The translation that lays the lungs' centres on each other, turning about the plain lungs' centre."""
    import SimpleITK as sitk

    centres = []
    for lungs in (plain, contrast):
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(lungs)
        centres.append(np.asarray(shape.GetCentroid(1)))
    start = sitk.AffineTransform(3)
    start.SetCenter(centres[0].tolist())
    start.SetTranslation((centres[1] - centres[0]).tolist())
    return start


def _method(near: sitk.Image, check: Callable[[], None]) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(near)
    method.SetInterpolator(sitk.sitkLinear)

    def look() -> None:
        try:
            check()
        except BaseException:
            method.StopRegistration()  # an exception cannot pass through; `register` asks again
            raise

    method.AddCommand(sitk.sitkIterationEvent, look)
    return method


def _fit_affine(
    fixed: sitk.Image, moving: sitk.Image, near: sitk.Image, start: sitk.Transform, check: Callable[[], None]
) -> sitk.Transform:
    method = _method(near, check)
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2 * WORK_MM, WORK_MM])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(fixed, moving)
    return start


def _fit_bspline(
    fixed: sitk.Image, moving: sitk.Image, near: sitk.Image, affine: sitk.Transform, check: Callable[[], None]
) -> sitk.Transform:
    import SimpleITK as sitk

    extent = [n * mm for n, mm in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    cells = [max(1, round(mm / KNOTS_MM / 2)) for mm in extent]  # doubled at the second level
    bent = sitk.BSplineTransformInitializer(fixed, cells, order=3)
    method = _method(near, check)
    method.SetMovingInitialTransform(affine)
    method.SetInitialTransformAsBSpline(bent, inPlace=True, scaleFactors=[1, 2])
    method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-3, numberOfIterations=30, deltaConvergenceTolerance=1e-4)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([WORK_MM, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(fixed, moving)
    return bent


def _agreement(
    fixed: sitk.Image,
    moving: sitk.Image,
    lungs: list[sitk.Image],
    near: sitk.Image,
    transform: sitk.Transform,
) -> Agreement:
    import SimpleITK as sitk

    low = SEEN_HU[0]
    there = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, low))
    region = sitk.GetArrayViewFromImage(near).astype(bool)
    ncc = float(np.corrcoef(sitk.GetArrayViewFromImage(fixed)[region], there[region])[0, 1])
    mine, other = (
        sitk.GetArrayFromImage(sitk.Resample(image, fixed, by, sitk.sitkNearestNeighbor)).astype(bool)
        for image, by in zip(lungs, (sitk.Transform(), transform), strict=True)
    )
    total = int(mine.sum() + other.sum())
    return Agreement(
        2.0 * int((mine & other).sum()) / total if total else 0.0, ncc if np.isfinite(ncc) else 0.0
    )


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


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ")[:120] if lines else type(error).__name__
