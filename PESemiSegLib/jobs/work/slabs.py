"""Hands finished slices out of a running segment job: files in its folder that a panel shows meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from PESemiSegLib.errors import OutputError
from PESemiSegLib.jobs.context import Context

if TYPE_CHECKING:
    import numpy as np

    from PESemiSegLib.inference.result import Box

SLABS, EVENT = "slabs", "slab"
_EVERY_S = 1.0


class Slabs:
    """Writes what is marked in the slices that were finished since the last time, about once a second.

    Each slab is a file `slabs/00017.npy`, uint8 (k, j, i), cut to its marks and written whole before the
    event "slab" names it: `file`, `start_ijk` on the working grid, and that grid's `ijk_to_ras`. A slab
    without marks has no file. They are for looking at, cut at the plain threshold: small marks and those
    without a core are still in. The files are there within a `with` of this only, whichever way it ends.
    Trouble with writing them is no trouble for the job.

    Args:
        ijk_to_ras: 4x4 of the working grid. clock: seconds, replaceable for tests.
    """

    def __init__(
        self, context: Context, ijk_to_ras: list[list[float]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context, self._matrix, self._clock = context, ijk_to_ras, clock
        self._folder = context.folder / SLABS
        self._waiting: list[tuple[Box, np.ndarray]] = []
        self._told = clock()

    def __enter__(self) -> Slabs:
        self._remove()  # what a killed worker has left
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def add(self, box: Box, marked: np.ndarray) -> None:
        """Take a finished slice: `inference.segment.SliceDone`."""
        if marked.any():
            self._waiting.append((box, marked.copy()))
        if self._clock() - self._told >= _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Hand out what is waiting."""
        self._told = self._clock()
        if not self._waiting:
            return
        first, last = self._waiting[0][0], self._waiting[-1][0]
        with suppress(OSError, OutputError):  # of a full disk the result's own files tell
            self._write(first.start, last.stop[0] - first.start[0])
        self._waiting.clear()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, start: tuple[int, int, int], count: int) -> None:
        import numpy as np

        from PESemiSegLib.inference.findings import bounding_box
        from PESemiSegLib.jobs.work.arrays import save_array

        slab = np.zeros((count, *self._waiting[0][1].shape[1:]), np.uint8)
        for box, marked in self._waiting:
            slab[box.start[0] - start[0]] = marked[0]
        marks = bounding_box(slab)
        assert marks is not None  # slices without marks are not kept
        corner = [int(a + b) for a, b in zip(start, marks.start, strict=True)]
        self._folder.mkdir(exist_ok=True)
        path = save_array(self._folder / f"{corner[0]:05d}.npy", slab[marks.slices])
        name = path.relative_to(self._context.folder).as_posix()
        self._context.event(EVENT, file=name, start_ijk=corner[::-1], ijk_to_ras=self._matrix)
