"""Maps brought to the input's grid plane by plane equal maps brought there whole."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from PESemiSegLib.volumes.planes import output_planes
from PESemiSegLib.volumes.volume import Volume, from_array

SHAPE = (4, 5, 6)


def stacked(volume: Volume, map_zyx: np.ndarray, asked: list[int] | None = None) -> np.ndarray:
    def cut(start: tuple[int, int, int], stop: tuple[int, int, int]) -> np.ndarray:
        block = map_zyx[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        if asked is not None:
            asked.append(block.size)
        return block

    return np.stack(list(output_planes(volume, cut, linear=True)))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_every_orientation(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * [0.7, 0.8, 1.5]
    volume = from_array(np.zeros(SHAPE, np.int16), affine)
    map_zyx = np.random.default_rng(0).random(volume.shape, dtype=np.float32)
    asked: list[int] = []
    np.testing.assert_array_equal(stacked(volume, map_zyx, asked), volume.to_output(map_zyx, linear=True))
    assert max(asked) == np.prod(SHAPE) // SHAPE[0]  # a plane at a time


def test_oblique_input() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (15, 25, 5), degrees=True).as_matrix()
    volume = from_array(np.zeros(SHAPE, np.int16), affine)
    map_zyx = np.random.default_rng(0).random(volume.shape, dtype=np.float32)
    np.testing.assert_array_equal(stacked(volume, map_zyx), volume.to_output(map_zyx, linear=True))
    assert stacked(volume, map_zyx).shape == SHAPE


def test_sheared_input_is_written_on_the_working_grid() -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.3  # a tilted gantry
    volume = from_array(np.zeros(SHAPE, np.int16), affine)
    map_zyx = np.random.default_rng(0).random(volume.shape, dtype=np.float32)
    np.testing.assert_array_equal(stacked(volume, map_zyx), map_zyx)
