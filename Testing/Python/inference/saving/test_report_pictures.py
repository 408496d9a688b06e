"""The pictures: orientation, proportions, window, and the mark where it is."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.report.encode import (
    CONFIDENCE_RGB,
    confidence_colours,
    outline_path,
    png_uri,
    windowed,
)
from PESemiSegLib.inference.report.overview import WINDOW, overviews_of
from PESemiSegLib.inference.report.planes import Picture, pictures_of
from PESemiSegLib.inference.result import Box, BoxArray, Finding, InputCheck, Result
from PESemiSegLib.volumes.segments import LABELS
from PESemiSegLib.volumes.volume import from_array

SPACING = (0.8, 1.0, 2.5)
SHAPE = (40, 90, 100)


def result_with(hu: np.ndarray, mask: np.ndarray) -> Result:
    """A result of one finding, on a grid with three different spacings."""
    volume = from_array(hu, np.diag([*SPACING, 1.0]))
    kji = np.argwhere(mask)
    start, stop = kji.min(0), kji.max(0) + 1
    box = Box(tuple(map(int, start)), tuple(map(int, stop)))
    centre = volume.grid.to_lps(kji.mean(0)[::-1])
    finding = Finding(
        id=1,
        volume_mm3=len(kji) * 2.0,
        centroid_lps_mm=tuple(map(float, centre)),
        side="left",
        slice_range=(box.start[0], box.stop[0] - 1),
        longest_axis_mm=9.0,
        mean_probability=0.5,
        mean_confidence=0.5,
        box=box,
        seed=tuple(map(int, kji[0])),
    )
    whole = Box.whole(volume.shape)
    probability = BoxArray(np.zeros(volume.shape, np.float32), whole, volume.shape)
    confidence = BoxArray(np.full(volume.shape, 1.0, np.float32), whole, volume.shape)
    lungs = lung_mask(volume.hu, volume.spacing_mm)
    return Result(
        volume, mask.astype(np.uint8), probability, confidence, [finding], InputCheck([]), {}, lungs
    )


@pytest.fixture
def cube() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[20:24, 40:50, 50:62] = True
    return mask


def grey(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.image.split(",")[1]))))


def extent(path: str) -> tuple[float, float, float, float]:
    """Left, right, top, bottom of an SVG path."""
    points = np.array([tuple(map(float, p)) for p in re.findall(r"([-\d.]+),([-\d.]+)", path)])
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return left, right, top, bottom


@pytest.mark.parametrize(
    ("shift_kji", "plane", "side"),
    [
        ((0, 0, 12), "axial", "right"),  # to the patient's left
        ((0, 12, 0), "axial", "bottom"),  # to posterior
        ((0, 0, 12), "coronal", "right"),
        ((6, 0, 0), "coronal", "top"),  # to superior
        ((6, 0, 0), "sagittal", "top"),
        ((0, 12, 0), "sagittal", "right"),  # to posterior
    ],
)
def test_radiological_orientation(
    shift_kji: tuple[int, int, int], plane: str, side: str, cube: np.ndarray
) -> None:
    """A bright block beside the finding appears on the side where a radiologist expects it."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[np.roll(cube, shift_kji, axis=(0, 1, 2))] = 600
    picture = next(p for p in pictures_of(result_with(hu, cube), _finding(cube)) if p.view.name == plane)
    image = grey(picture).astype(float)
    rows, columns = np.nonzero(image > 128)
    centre = (image.shape[0] / 2, image.shape[1] / 2)
    found = {
        "right": columns.mean() > centre[1] + 10,
        "bottom": rows.mean() > centre[0] + 10,
        "top": rows.mean() < centre[0] - 10,
    }
    assert found[side]
    assert (
        picture.view.labels
        == {
            "axial": ("R", "L", "A", "P"),
            "coronal": ("R", "L", "H", "F"),
            "sagittal": ("A", "P", "H", "F"),
        }[plane]
    )


def _finding(mask: np.ndarray) -> Finding:
    return result_with(np.zeros(SHAPE, np.int16), mask).findings[0]


def test_proportions_follow_the_spacing(cube: np.ndarray) -> None:
    """The outline's size in pictures is that of the block in millimetres, in all three planes."""
    result = result_with(np.zeros(SHAPE, np.int16), cube)
    size_mm = {"x": 12 * 0.8, "y": 10 * 1.0, "z": 4 * 2.5}
    axes = {"axial": "xy", "coronal": "xz", "sagittal": "yz"}
    for picture in pictures_of(result, result.findings[0]):
        left, right, top, bottom = extent(picture.outline)
        across, down = axes[picture.view.name]
        assert (right - left) / picture.px_per_mm == pytest.approx(size_mm[across], abs=0.05)
        assert (bottom - top) / picture.px_per_mm == pytest.approx(size_mm[down], abs=0.05)
        assert grey(picture).shape == (round(picture.height), round(picture.width))


def test_positions_are_those_of_the_finding_in_a_scan_that_is_turned_a_little(cube: np.ndarray) -> None:
    straight = result_with(np.zeros(SHAPE, np.int16), cube)
    angle = np.radians(4.5)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = from_array(np.zeros(SHAPE, np.int16), turn @ np.diag([*SPACING, 1.0]))
    finding = straight.findings[0]
    for picture in pictures_of(replace(straight, volume=volume), finding):
        name, told = picture.position.replace("\u2212", "-").split()[-3:-1]
        ijk = np.argwhere(cube).mean(0)[::-1]
        ijk["xyz".index(name)] = finding.box.start["zyx".index(name)]  # where its area is largest first
        assert float(told) == pytest.approx(volume.grid.to_lps(ijk)["xyz".index(name)], abs=0.15)


def test_the_outline_lies_on_the_block(cube: np.ndarray) -> None:
    """Grey inside the outline is the block's, outside it is not."""
    hu = np.where(cube, 450, -1000).astype(np.int16)
    result = result_with(hu, cube)
    for picture in pictures_of(result, result.findings[0]):
        left, right, top, bottom = (round(v) for v in extent(picture.outline))
        image = grey(picture)
        assert image[top + 5 : bottom - 5, left + 5 : right - 5].min() > 240
        outside = image.copy()
        outside[top - 6 : bottom + 6, left - 6 : right + 6] = 0
        assert outside.max() < 10


def test_a_finding_at_the_edge_of_the_image_is_padded_with_air() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0:2, 0:3, 97:100] = True
    result = result_with(np.full(SHAPE, 100, np.int16), mask)
    for picture in pictures_of(result, result.findings[0]):
        assert grey(picture).min() == 0
        assert picture.outline


def test_the_neighbour_is_dashed_and_apart(cube: np.ndarray) -> None:
    both = cube | np.roll(cube, 20, axis=2)
    result = result_with(np.zeros(SHAPE, np.int16), both)
    result.findings[0] = _finding(cube)
    axial = pictures_of(result, result.findings[0])[0]
    assert extent(axial.outline)[1] < extent(axial.others)[0]


def test_confidence_is_shown_on_the_mark_only(cube: np.ndarray) -> None:
    result = result_with(np.zeros(SHAPE, np.int16), cube)
    axial = pictures_of(result, result.findings[0])[0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(axial.overlay.split(",")[1]))))
    shown = pixels[..., 3] > 0
    assert 12 * 10 < shown.sum() < 22 * 20  # the block and 3 mm around it, in voxels
    assert (pixels[shown][:, :3] == CONFIDENCE_RGB[-1]).all()  # confidence 1 is the last colour


def test_overview_marks_the_finding_on_the_right_side(made_up_result: Callable[..., Result]) -> None:
    """Columns ascend to the patient's left, which is the viewer's right; slices ascend to the top."""
    result = made_up_result(marks=1)
    coronal, sagittal = overviews_of(result)
    marker, box = coronal.markers[0], result.box
    i, j, k = result.volume.grid.to_ijk(result.findings[0].centroid_lps_mm)
    wide, deep, high = (b - a for a, b in zip(box.start[::-1], box.stop[::-1], strict=True))
    assert marker.x / coronal.width == pytest.approx((i - box.start[2] + 0.5) / wide, abs=0.01)
    assert marker.y / coronal.height == pytest.approx(1 - (k - box.start[0] + 0.5) / high, abs=0.01)
    assert sagittal.markers[0].x / sagittal.width == pytest.approx((j - box.start[1] + 0.5) / deep, abs=0.01)
    left, right, top, bottom = extent(coronal.shadows[0].path)
    assert left < marker.x < right
    assert top < marker.y < bottom
    assert coronal.height == sagittal.height


def test_overview_paints_each_class_in_its_own_colour(made_up_result: Callable[..., Result]) -> None:
    result = made_up_result(marks=2)
    result.mask[result.findings[1].box.slices] = 2
    result.segments = LABELS["arteries"]
    coronal, _ = overviews_of(result)
    assert [shadow.name for shadow in coronal.shadows] == ["Aorta", "Pulmonary artery"]
    assert [shadow.colour for shadow in coronal.shadows] == ["rgb(224 97 76)", "rgb(0 122 171)"]
    for shadow, marker in zip(coronal.shadows, coronal.markers, strict=True):
        left, right, top, bottom = extent(shadow.path)
        assert left < marker.x < right
        assert top < marker.y < bottom


def test_overview_shows_vessels_and_hides_ribs_and_spine() -> None:
    """A chest of two lungs: vessels of 300 HU in them, ribs of 1000 HU around them, a spine between them."""
    z, y, x = np.mgrid[:30, :110, :160].astype(float)
    lungs = [((x - c) / 28) ** 2 + ((y - 55) / 40) ** 2 < 1 for c in (45, 115)]
    ribs = [((x - c) / 32) ** 2 + ((y - 55) / 45) ** 2 < 1 for c in (45, 115)]
    hu = np.full(z.shape, -1000, np.int16)
    hu[((x - 80) / 78) ** 2 + ((y - 55) / 53) ** 2 < 1] = 40
    hu[(ribs[0] | ribs[1]) & (np.abs(x - 80) > 35) & (z % 6 < 3)] = 1000
    hu[(np.abs(x - 80) < 14) & (y > 66) & (y < 98)] = 1000
    hu[lungs[0] | lungs[1]] = -850
    hu[:, 50:54, 44:48] = 300
    volume = from_array(hu, np.diag([2.0, 2.0, 3.0, 1.0]))
    mask = np.zeros(hu.shape, np.uint8)
    box = Box.whole(volume.shape)
    blank = BoxArray(mask.astype(np.float32), box, volume.shape)
    result = Result(volume, mask, blank, blank, [], InputCheck(()), {}, lung_mask(hu, volume.spacing_mm))
    for overview in overviews_of(result):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(overview.image.split(",")[1]))))
        vessel = windowed(np.array([300]), *WINDOW)[0]
        assert np.mean(np.abs(pixels.astype(int) - vessel) < 8) > 0.01
        assert np.mean(pixels > vessel + 40) == 0


def test_window() -> None:
    shown = windowed(np.array([-2000, -250, 100, 450, 3000]), 700, 100)
    assert shown.dtype == np.uint8
    assert shown.tolist() == [0, 0, 128, 255, 255]


def test_colours_end_at_the_ends() -> None:
    colours = confidence_colours(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))
    assert colours[0, 0].tolist() == [*CONFIDENCE_RGB[0], 0]
    assert colours[0, 1].tolist() == [*CONFIDENCE_RGB[-1], 255]


def test_png_and_outline_of_the_smallest() -> None:
    assert png_uri(np.zeros((1, 1), np.uint8)).startswith("data:image/png;base64,iVBOR")
    assert extent(outline_path(np.ones((1, 1), bool), (10.0, 10.0))) == (0.0, 10.0, 0.0, 10.0)
    assert outline_path(np.zeros((3, 3), bool), (1.0, 1.0)) == ""
