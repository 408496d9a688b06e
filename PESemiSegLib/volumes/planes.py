"""Owns the way to the input's grid one plane at a time, for maps too large to be turned over whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from PESemiSegLib.volumes.volume import Volume

Index = tuple[int, int, int]


def output_planes(
    volume: Volume, cut: Callable[[Index, Index], np.ndarray], *, linear: bool = False
) -> Iterator[np.ndarray]:
    """Yield the planes of `volume.output_grid` in order; together they equal `volume.to_output` of the map.

    `cut(start, stop)` gives the block of the map, (z, y, x) on the working grid, between two corners. Where
    the input lay along the axes, no more than one plane is asked for; an oblique input is resampled whole.
    """
    native, shape = volume.native, volume.shape
    axes, flips = native.axes, native.flips
    if not native.writes_stack:
        axes, flips = (0, 1, 2), (False, False, False)
    if axes is None:
        yield from volume.to_output(cut((0, 0, 0), shape), linear=linear)
        return
    across = axes.index(0)  # the working axis that the output's planes are stacked along
    flipped = tuple(axis for axis in range(3) if flips[axis])
    order = np.argsort(axes)
    for n in range(shape[across]):
        at = shape[across] - 1 - n if flips[across] else n
        start, stop = [0, 0, 0], list(shape)
        start[across], stop[across] = at, at + 1
        block = cut((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        yield np.flip(block, tuple(flipped)).transpose(order)[0]
