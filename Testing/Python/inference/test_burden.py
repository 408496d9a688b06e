"""Clot burden: levels of drawn tubes by their calibre, shares by hand, and the search region."""

import numpy as np
import pytest

from PESemiSegLib.inference.burden import LEVELS, clot_burden, levels_of, search_region

SPACING_MM = (1.0, 1.0, 1.5)  # x, y, z
DIAMETERS_MM = (24.0, 10.0, 5.0)


def tubes() -> np.ndarray:
    """Three parallel tubes along z with round ends, of central, lobar and segmental calibre."""
    z, y, x = np.ogrid[:30, :48, :80]
    drawn = np.zeros((30, 48, 80), bool)
    for centre, diameter in zip((20, 45, 65), DIAMETERS_MM, strict=True):
        along = np.maximum(np.abs(z - 14.5) * SPACING_MM[2] - (20.0 - diameter / 2), 0.0)
        drawn |= np.sqrt((x - centre) ** 2 + (y - 24) ** 2 + along**2) < diameter / 2
    return drawn


def test_the_calibre_tells_the_level() -> None:
    tree = tubes()
    level = levels_of(tree, SPACING_MM)
    np.testing.assert_array_equal(level > 0, tree)
    for value, (start, stop) in enumerate(((0, 34), (34, 56), (56, 80)), start=1):
        own = level[:, :, start:stop]
        assert np.mean(own[own > 0] == value) > 0.93


def test_shares_by_hand() -> None:
    """The lobar and the segmental tube are full over a third of their length, the central one is free."""
    tree = tubes()
    clot = np.zeros_like(tree)
    clot[10:20, :, 34:] = tree[10:20, :, 34:]
    burden = clot_burden(clot, tree, SPACING_MM, {"name": "a"})
    voxel_ml = 1.5 / 1000
    assert burden.total.artery_ml == pytest.approx(tree.sum() * voxel_ml)
    assert burden.total.share == pytest.approx(clot.sum() / tree.sum())
    assert burden.levels["central"].share == 0.0
    for name, tube in (("lobar", np.s_[:, :, 34:56]), ("segmental and smaller", np.s_[:, :, 56:])):
        row = burden.levels[name]
        assert row.clot_ml == pytest.approx(clot[tube].sum() * voxel_ml, rel=0.1), name
        assert row.artery_ml == pytest.approx(tree[tube].sum() * voxel_ml, rel=0.15), name
    plain = burden.to_dict()
    assert plain["model"] == {"name": "a"}
    assert set(plain) == {"model", "total", *LEVELS}


def test_nothing_and_other_shapes() -> None:
    nothing = np.zeros((3, 4, 5), np.uint8)
    burden = clot_burden(nothing, nothing, SPACING_MM)
    assert burden.total.share is None
    assert not search_region(nothing, SPACING_MM).any()
    with pytest.raises(ValueError, match="shape"):
        clot_burden(nothing, nothing[1:], SPACING_MM)


def test_the_search_region_is_three_millimetres_wider() -> None:
    artery = np.zeros((9, 15, 15), np.uint8)
    artery[4, 7, 7] = 1
    region = search_region(artery, SPACING_MM)
    assert region[4, 7].nonzero()[0].tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert region[:, 7, 7].nonzero()[0].tolist() == [2, 3, 4, 5, 6]
