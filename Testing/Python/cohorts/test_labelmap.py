"""Masks lie on their scan's grid to the last corner, whoever reads them."""

import numpy as np
import pytest

from PESemiSegLib.cohorts.build import inspect
from PESemiSegLib.cohorts.cache import SliceCache
from PESemiSegLib.cohorts.labelmap import file_mask, on_same_grid
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.truth import read_case
from PESemiSegLib.volumes.reader import read

SHAPE = (4, 512, 512)


@pytest.fixture
def case(tmp_path, sets) -> Case:
    """A mask whose steps differ by 0.04 mm, so that its last corner lies 20 mm from the scan's."""
    image = sets.image(tmp_path / "ct.nii.gz", np.full(SHAPE, 40, np.int16), (0.70, 0.70, 1.00))
    mask = sets.image(tmp_path / "wide.nii.gz", np.ones(SHAPE, np.uint8), (0.74, 0.74, 1.04))
    return Case("p", "A", image, mask)


def test_a_mask_of_nearly_the_scans_spacing_is_refused_by_every_reader(case, tmp_path):
    scan, mask = read(case.image), read(case.mask)
    assert not on_same_grid(mask, scan)
    words = r"wide.nii.gz does not lie on the scan's grid"
    for reader in (SliceCache(tmp_path / "cache", 0.7).open, read_case):
        with pytest.raises(InputError, match=words):
            reader(case)
    with pytest.raises(InputError, match=words):
        file_mask(case.mask)(scan)
    assert any("does not lie on the scan's grid" in text for text in inspect(case))


def test_what_a_header_rounds_off_is_let_pass(case, tmp_path, sets):
    scan = read(case.image)
    for shift, same in ((0.049, True), (0.051, False)):
        moved = sets.image(
            tmp_path / f"{same}.nii.gz", np.ones(SHAPE, np.uint8), (0.7, 0.7, 1.0), (shift, 0, -100)
        )
        assert on_same_grid(read(moved), scan) is same
