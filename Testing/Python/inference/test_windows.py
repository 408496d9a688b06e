"""Windows over a box: every voxel is seen, blending is MONAI's, and what goes in comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.inference.blend import Blend, Cells
from PESemiSegLib.inference.result import Box
from PESemiSegLib.inference.windows import STRIDE, Axis, Windows, grow_to_windows

CROP = (32, 64, 64)


def make_windows(shape: tuple[int, int, int], spacing_mm=(3.0, 3.0, 3.0), crop=CROP, box=None) -> Windows:
    hu = np.random.default_rng(0).integers(-200, 300, shape).astype(np.int16)
    return Windows(
        hu,
        box or Box.whole(shape),
        spacing_mm,
        wanted_mm=(3.0, 3.0, 3.0),
        hu_window=(-160.0, 240.0),
        crop=crop,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.floats(0.4, 6.0), st.sampled_from([32, 64, 96, 224]))
def test_windows_cover_an_axis_on_the_grid_of_cells(size: int, spacing_mm: float, crop: int) -> None:
    axis = Axis.plan(size, spacing_mm, 2.0, crop)
    starts = np.array(axis.starts)
    assert starts[0] == 0
    assert starts[-1] + crop == axis.padded >= axis.net_size
    assert not (np.append(starts, [axis.middle, axis.padded]) % STRIDE).any()
    if len(starts) > 1:
        overlap = crop - np.diff(starts)
        if crop == STRIDE:
            assert not overlap.any()  # one cell: side by side
        else:
            assert overlap.min() >= 0.25 * crop
    assert abs(axis.middle + crop / 2 - axis.padded / 2) <= STRIDE / 2 + 1
    np.testing.assert_allclose(axis.cells_to_box.sum(1), 1.0, atol=1e-4)
    assert axis.cells_to_box.shape[0] == size


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_box_grows_inside_the_image_and_never_past_what_windows_cover(data: st.DataObject) -> None:
    full = tuple(data.draw(st.integers(8, 300)) for _ in range(3))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in full)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, full, strict=True))
    spacing = tuple(data.draw(st.floats(0.5, 5.0)) for _ in range(3))
    grown = grow_to_windows(Box(start, stop), full, spacing, (2.0, 1.5, 1.5), CROP)
    for axis, wanted_mm in enumerate((2.0, 1.5, 1.5)):
        assert 0 <= grown.start[axis] <= start[axis] < stop[axis] <= grown.stop[axis] <= full[axis]
        before, after = stop[axis] - start[axis], grown.stop[axis] - grown.start[axis]
        plans = [Axis.plan(n, spacing[axis], wanted_mm, CROP[axis]) for n in (before, after)]
        assert plans[0].padded == plans[1].padded  # no further window


def test_an_input_is_the_windowed_scan_with_air_beyond_its_end() -> None:
    windows = make_windows((40, 70, 66))
    assert windows.shape == (64, 96, 96)
    block = windows.input((32, 32, 32))
    assert block.shape == (1, *CROP)
    hu = np.random.default_rng(0).integers(-200, 300, (40, 70, 66)).astype(np.float64)
    expected = (np.clip(hu, -160, 240) - 40) / 200
    np.testing.assert_allclose(block[0, :8, :38, :34], expected[32:, 32:, 32:], atol=1e-6)
    assert (block[0, 8:] == -1).all()
    assert (block[0, :, 38:] == -1).all()
    assert (block[0, :, :, 34:] == -1).all()


def test_blending_is_that_of_monais_sliding_window() -> None:
    torch = pytest.importorskip("torch")
    from monai.data.utils import compute_importance_map
    from monai.utils import BlendMode

    windows = make_windows((70, 100, 90))
    own = np.einsum("z,y,x->zyx", *(axis.weights for axis in windows.axes))
    theirs = compute_importance_map(CROP, mode=BlendMode.GAUSSIAN, sigma_scale=0.125).numpy()
    inner = (slice(8, -8), slice(16, -16), slice(16, -16))  # MONAI cuts small weights off
    np.testing.assert_allclose(own[inner] / own.max(), theirs[inner] / theirs.max(), atol=0.02)
    assert torch is not None

    rng = np.random.default_rng(1)
    blend = Blend(windows)
    total, weight = np.zeros(windows.shape), np.zeros(windows.shape)
    for place in windows.places:
        values = rng.random(CROP, dtype=np.float32)
        here = tuple(slice(a, a + n) for a, n in zip(place, CROP, strict=True))
        total[here] += own * values
        weight[here] += own
        blend.add(place, values)
    assert weight.min() > 0
    np.testing.assert_allclose(blend.finish(), total / weight, atol=1e-3)  # kept as float16


def test_the_middle_window_is_among_them_and_they_come_upwards() -> None:
    windows = make_windows((128, 64, 64))
    assert windows.middle == (48 // STRIDE * STRIDE, 0, 0)
    assert windows.middle in windows.places
    assert windows.places == sorted(windows.places)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (1.0, 1.5, 2.0), (5.0, 0.9, 0.9)])
def test_a_smooth_map_comes_back_to_the_box(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(round(90 / mm) for mm in spacing_mm)
    windows = make_windows(shape, spacing_mm)
    net = [np.minimum((np.arange(axis.padded) + 0.5) / axis.net_size, 1.0) for axis in windows.axes]
    ramp = net[0][:, None, None] + 2 * net[1][:, None] + 3 * net[2]
    back = np.stack(list(windows.back(ramp.astype(np.float32))))
    own = [(np.arange(n) + 0.5) / n for n in shape]
    expected = own[0][:, None, None] + 2 * own[1][:, None] + 3 * own[2]
    inner = tuple(slice(max(2, n // 10), -max(2, n // 10)) for n in shape)
    np.testing.assert_allclose(back[inner], expected[inner], atol=0.05)
    assert back.shape == shape


def test_cells_lie_where_they_were_seen() -> None:
    windows = make_windows((64, 128, 96))
    cells = Cells(windows)
    for place in windows.places:
        seen = np.zeros([n // STRIDE for n in CROP])
        there = [
            2 - a // STRIDE for a in place[1:]
        ]  # the cell (1, 2, 2) of the whole grid, where it is in view
        if place[0] == 32 and all(0 <= n < 2 for n in there):
            seen[0, there[0], there[1]] = 5.0
        cells.add(place, seen)
    mean = cells.mean()
    assert mean.shape == (2, 4, 3)
    assert mean[1, 2, 2] == pytest.approx(5.0)
    assert np.count_nonzero(mean) == 1
    back = np.stack(list(windows.cells_back(mean)))
    assert back.shape == (64, 128, 96)
    assert np.unravel_index(back.argmax(), back.shape)[0] >= 40
    np.testing.assert_allclose(
        np.array(np.unravel_index(back.argmax(), back.shape)) / STRIDE - 0.5, (1, 2, 2), atol=0.6
    )
