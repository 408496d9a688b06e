"""Fits one scan onto another with SimpleITK: coarse images, affine map, B-spline, and their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.volumes.grid import Grid, orthonormalised

if TYPE_CHECKING:
    import SimpleITK as sitk

    from PESemiSegLib.volumes.volume import Volume

WORK_MM = 3.0  # grid on which the scans are compared
KNOTS_MM = 50.0  # distance of the B-spline's control points: coarser than a vessel, so that no clot is bent
SAMPLES = 6000  # voxels that the B-spline is fitted to: its cost is their number times that of its values
SEEN_HU = (-1000.0, 100.0)  # enhanced blood is cut off to the brightness of plain blood and muscle
NEAR_LUNGS_MM = 15.0  # the region compared: lungs, mediastinum and diaphragm; arms and couch move otherwise


def coarse(volume: Volume) -> sitk.Image:
    """The scan at about WORK_MM, averaged, with HU cut off to what both phases show alike."""
    import SimpleITK as sitk

    factors = [max(1, round(WORK_MM / mm)) for mm in volume.spacing_mm]
    small = sitk.BinShrink(image_of(volume.hu, volume.grid), factors)
    return sitk.Clamp(sitk.Cast(small, sitk.sitkFloat32), sitk.sitkFloat32, *SEEN_HU)


def image_of(array: np.ndarray, grid: Grid) -> sitk.Image:
    """An array (z, y, x) on its grid as an image; bool becomes uint8."""
    import SimpleITK as sitk

    values = array.view(np.uint8) if array.dtype == bool else array
    return placed(sitk.GetImageFromArray(np.ascontiguousarray(values)), grid)


def placed(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The same image, laid on a grid."""
    straight = orthonormalised(grid)
    image.SetSpacing(straight.spacing_mm)
    image.SetOrigin(straight.origin)
    image.SetDirection(straight.direction.ravel().tolist())
    return image


def near_lungs(lungs: sitk.Image) -> sitk.Image:
    """Where the scans are compared: the lungs and NEAR_LUNGS_MM around them."""
    import SimpleITK as sitk

    distance = sitk.SignedMaurerDistanceMap(lungs, squaredDistance=False, useImageSpacing=True)
    return sitk.Cast(distance <= NEAR_LUNGS_MM, sitk.sitkUInt8)


def centre_on_centre(plain: sitk.Image, contrast: sitk.Image) -> sitk.AffineTransform:
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
    method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(near)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetInterpolator(sitk.sitkLinear)

    def look() -> None:
        try:
            check()
        except BaseException:
            method.StopRegistration()  # an exception cannot pass through; `register` asks again
            raise

    method.AddCommand(sitk.sitkIterationEvent, look)
    return method


def fit_affine(
    fixed: sitk.Image, moving: sitk.Image, near: sitk.Image, start: sitk.Transform, check: Callable[[], None]
) -> sitk.Transform:
    """The affine map from `fixed` to `moving` that `start` becomes."""
    method = _method(near, check)
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=0.02, numberOfIterations=100, relaxationFactor=0.5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetMetricSamplingPercentage(_share(fixed, 8 * SAMPLES, 2), seed=1)
    method.SetShrinkFactorsPerLevel([2])
    method.SetSmoothingSigmasPerLevel([WORK_MM])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(fixed, moving)
    return start


def fit_bspline(
    fixed: sitk.Image, moving: sitk.Image, near: sitk.Image, affine: sitk.Transform, check: Callable[[], None]
) -> sitk.Transform:
    """The B-spline that is applied before `affine`, in two steps from coarse to fine."""
    import SimpleITK as sitk

    extent = [n * mm for n, mm in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    cells = [max(1, round(mm / KNOTS_MM / 2)) for mm in extent]  # doubled at the second level
    bent = sitk.BSplineTransformInitializer(fixed, cells, order=3)
    method = _method(near, check)
    method.SetMovingInitialTransform(affine)
    method.SetInitialTransformAsBSpline(bent, inPlace=True, scaleFactors=[1, 2])
    method.SetMetricSamplingPercentagePerLevel([_share(fixed, SAMPLES, n) for n in (2, 1)], seed=1)
    method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-3, numberOfIterations=12, deltaConvergenceTolerance=1e-3)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([WORK_MM, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(fixed, moving)
    return bent


def _share(image: sitk.Image, samples: int, shrunk: int) -> float:
    """The share of a shrunk image's voxels that makes so many samples."""
    return min(1.0, samples / max(1.0, np.prod(image.GetSize()) / shrunk**3))


def reason_of(error: RuntimeError) -> str:
    """What SimpleITK complains of, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ")[:120] if lines else type(error).__name__
