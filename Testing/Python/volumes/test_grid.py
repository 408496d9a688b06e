"""Grid: indices to millimetres and back, and what it refuses."""

import numpy as np
import pytest

from PESemiSegLib.volumes.grid import Grid, make_affine, orthonormalised


def test_affine_and_array_order_are_opposite():
    grid = Grid((5, 4, 3), make_affine((0.5, 0.75, 2.0), (10, 20, 30)))
    assert grid.spacing_mm == (0.5, 0.75, 2.0)
    np.testing.assert_allclose(grid.to_lps([2, 3, 4]), [11, 22.25, 38])
    np.testing.assert_allclose(grid.to_ijk([11, 22.25, 38]), [2, 3, 4])
    assert grid.voxel_volume_mm3 == pytest.approx(0.75)
    np.testing.assert_allclose(grid.corners_lps().max(axis=0), [11, 22.25, 38])


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3)])
def test_refuses_a_shape_without_voxels(shape):
    with pytest.raises(ValueError, match="three axes"):
        Grid(shape, np.eye(4))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_refuses_an_affine_that_is_none(affine):
    with pytest.raises(ValueError, match="affine"):
        Grid((2, 2, 2), affine)


def test_affine_cannot_be_changed_behind_its_back():
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 3] = 5
    assert grid.origin == (0, 0, 0)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


def test_orthonormalised_keeps_spacing_and_centre():
    affine = make_affine((0.7, 0.8, 2.0), (1, 2, 3))
    affine[0, 2] = 1e-3
    grid = Grid((9, 7, 5), affine)
    straight = orthonormalised(grid)
    assert straight.shear_degrees < 1e-6 < grid.shear_degrees
    assert not grid.is_sheared
    assert Grid((900, 7, 5), affine).is_sheared  # a small slope moves a long stack
    np.testing.assert_allclose(straight.spacing_mm, grid.spacing_mm)
    np.testing.assert_allclose(straight.to_lps([2, 3, 4]), grid.to_lps([2, 3, 4]))
    assert grid.same_as(straight, tolerance_mm=0.01)
    assert not grid.same_as(straight, tolerance_mm=1e-4)
