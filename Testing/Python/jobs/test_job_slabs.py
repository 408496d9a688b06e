"""Slabs: what a running segment job has marked so far, on the right voxels, and never in the job's way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.inference.result import Box
from PESemiSegLib.jobs.work.slabs import Slabs

MATRIX = np.diag([-2.0, -2.0, 3.0, 1.0]).tolist()
SHAPE, START = (12, 9, 7), (5, 20, 30)


class Recorder(SimpleNamespace):
    """As much of a Context as slabs need."""

    def event(self, kind: str, **values: Any) -> None:
        self.events.append({"kind": kind, **values})


def run(folder: Path, marks: np.ndarray, every: int) -> tuple[Slabs, list[dict[str, Any]]]:
    """Slices of `marks` finished one by one, with a clock by which a slab is due after `every` of them."""
    context = Recorder(folder=folder, events=[])
    ticks = (tick / every for tick in range(10**6))  # asked once a slice
    slabs = Slabs(context, MATRIX, clock=lambda: next(ticks))  # type: ignore[arg-type]
    for n, plane in enumerate(marks):
        k = START[0] + n
        slabs.add(Box((k, *START[1:]), (k + 1, START[1] + SHAPE[1], START[2] + SHAPE[2])), plane[None])
    slabs.flush()
    return slabs, context.events


@pytest.mark.parametrize("every", [1, 3, 50])
def test_slabs_together_are_the_marks(tmp_path: Path, every: int) -> None:
    marks = (np.random.default_rng(3).random(SHAPE) > 0.97).astype(np.uint8)
    marks[4:8] = 0
    slabs, events = run(tmp_path, marks, every)
    whole = np.zeros([a + b for a, b in zip(START, SHAPE, strict=True)], np.uint8)
    for event in events:
        assert event["ijk_to_ras"] == MATRIX
        slab = np.load(tmp_path / event["file"], allow_pickle=False)
        where = tuple(slice(at, at + n) for at, n in zip(event["start_ijk"][::-1], slab.shape, strict=True))
        whole[where] = slab
    np.testing.assert_array_equal(whole[tuple(slice(a, None) for a in START)], marks)
    assert len(events) == 1 if every == 50 else len(events) > 2
    slabs.remove()
    assert not any(tmp_path.iterdir())


def test_no_marks_no_files_and_a_full_disk_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, np.zeros(SHAPE, np.uint8), 2)[1] == []
    assert not any(tmp_path.iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert run(tmp_path, np.ones(SHAPE, np.uint8), 2)[1] == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
