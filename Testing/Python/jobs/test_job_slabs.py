"""Slabs: what a running segment job has marked so far, on the right voxels, and never in the job's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.errors import Cancelled, InputError
from PESemiSegLib.inference.result import Box
from PESemiSegLib.jobs.work.slabs import Slabs

MATRIX = np.diag([-2.0, -2.0, 3.0, 1.0]).tolist()
SHAPE, START = (12, 9, 7), (5, 20, 30)


class Recorder(SimpleNamespace):
    """As much of a Context as slabs need."""

    def event(self, kind: str, **values: Any) -> None:
        self.events.append({"kind": kind, **values})


@contextmanager
def run(folder: Path, marks: np.ndarray, every: int) -> Iterator[list[dict[str, Any]]]:
    """Slices of `marks` finished one by one, with a clock by which a slab is due after `every` of them."""
    context = Recorder(folder=folder, events=[])
    ticks = (tick / every for tick in range(10**6))  # asked once a slice
    with Slabs(context, MATRIX, clock=lambda: next(ticks)) as slabs:  # type: ignore[arg-type]
        for n, plane in enumerate(marks):
            k = START[0] + n
            slabs.add(Box((k, *START[1:]), (k + 1, START[1] + SHAPE[1], START[2] + SHAPE[2])), plane[None])
        slabs.flush()
        yield context.events


@pytest.mark.parametrize("every", [1, 3, 50])
def test_slabs_together_are_the_marks(tmp_path: Path, every: int) -> None:
    marks = (np.random.default_rng(3).random(SHAPE) > 0.97).astype(np.uint8)
    marks[4:8] = 0
    (tmp_path / "slabs").mkdir()
    (tmp_path / "slabs" / "00099.npy").touch()  # a killed worker's
    whole = np.zeros([a + b for a, b in zip(START, SHAPE, strict=True)], np.uint8)
    with run(tmp_path, marks, every) as events:
        assert len(list((tmp_path / "slabs").iterdir())) == len(events)
        for event in events:
            assert event["ijk_to_ras"] == MATRIX
            slab = np.load(tmp_path / event["file"], allow_pickle=False)
            start = event["start_ijk"][::-1]
            whole[tuple(slice(at, at + n) for at, n in zip(start, slab.shape, strict=True))] = slab
    np.testing.assert_array_equal(whole[tuple(slice(a, None) for a in START)], marks)
    assert len(events) == 1 if every == 50 else len(events) > 2
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("problem", [Cancelled, InputError, KeyboardInterrupt])
def test_no_slab_outlives_its_job(tmp_path: Path, problem: type[BaseException]) -> None:
    def stopped() -> None:
        with run(tmp_path, np.ones(SHAPE, np.uint8), 3) as events:
            assert events
            raise problem

    with pytest.raises(problem):
        stopped()
    assert not any(tmp_path.iterdir())


def test_no_marks_no_files_and_a_full_disk_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run(tmp_path, np.zeros(SHAPE, np.uint8), 2) as events:
        assert events == []
        assert not any(tmp_path.iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with run(tmp_path, np.ones(SHAPE, np.uint8), 2) as events:
        assert events == []
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
