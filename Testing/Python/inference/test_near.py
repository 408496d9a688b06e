"""Distances slab by slab are those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from PESemiSegLib.inference import near


@given(
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.0, 0.002, 0.02, 0.3]),
    reach=st.floats(0.1, 9.0),
    spacing=st.tuples(*[st.floats(0.4, 4.0)] * 3),
)
def test_slabs_change_nothing(seed: int, share: float, reach: float, spacing: tuple) -> None:
    targets = np.random.default_rng(seed).random((23, 6, 7)) < share
    away = np.full(targets.shape, np.inf)
    if targets.any():
        away = distance_transform_edt(~targets, sampling=spacing[::-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_VOXELS", 2 * 6 * 7)
        assert np.array_equal(near.within(targets, reach, spacing), away <= reach)
        assert np.array_equal(near.beyond(targets, reach, spacing), away >= reach)


def test_nothing_lies_near_nothing() -> None:
    assert near.within(np.zeros((0, 4, 4)), 3.0, (1.0, 1.0, 1.0)).shape == (0, 4, 4)
