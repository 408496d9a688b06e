"""The picture sheet: the ends of the ranges are those of the settings, and the file is whole or not there."""

import numpy as np
import pytest

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION, AugmentConfig
from PESemiSegLib.cohorts.picture_sheet import _augmented, _End, save_sheet, sheet
from PESemiSegLib.errors import OutputError

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(("end", "shift"), [(0, -20.0), (1, 20.0)])
def test_the_ends_are_those_of_the_settings(sets, end, shift):
    from dataclasses import replace

    alone = replace(NO_AUGMENTATION, shift_hu=20.0)
    plane, mask = np.repeat(np.repeat(sets.hu[2], 4, 0), 4, 1), np.repeat(np.repeat(sets.mask[2], 4, 0), 4, 1)
    centre = (127.5, 127.5)
    before, marks = _augmented(plane, mask, centre, NO_AUGMENTATION, np.random.default_rng(0))
    after, same = _augmented(plane, mask, centre, alone, _End(end, 0))
    np.testing.assert_allclose(after - before, shift, atol=1e-3)
    np.testing.assert_array_equal(marks, same)
    assert marks.any()


def test_a_png_is_written_aside_and_rows_that_are_off_are_left_out(sets, tmp_path):
    config = AugmentConfig(rotation_deg=0.0, scale=0.0, noise_hu=0.0, blur_pixels=0.0)
    figure = sheet(sets.hu[2], None, 0.8, config=config)
    assert len(figure.axes) == 3 * 4 + 2  # shift, contrast, all together; two colour bars
    save_sheet(figure, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(OutputError, match=r"dir\.png"):
        save_sheet(figure, tmp_path / "dir.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dir.png", "sheet.png"]
