"""Batches: order, memory that runs out, cancelling; and waiting for a task politely."""

import threading
import time

import numpy as np
import pytest

from PESemiSegLib.errors import Cancelled, DeviceError
from PESemiSegLib.inference.engines.base import is_out_of_memory
from PESemiSegLib.inference.engines.batches import run_in_batches
from PESemiSegLib.inference.progress import in_background, wait_for


def nothing():
    pass


def slices(count):
    return [np.full((1, 3, 4), n, np.float32) for n in range(count)]


class Scarce:
    """A `forward` that has memory for `room` slices at once."""

    def __init__(self, room, error=None):
        self.room, self.sizes = room, []
        self.error = error or RuntimeError("CUDA error: out of memory")

    def __call__(self, stacked):
        self.sizes.append(len(stacked))
        if len(stacked) > self.room:
            raise self.error
        return stacked[:, 0], -stacked[:, 0]


def batches(forward, inputs, batch, poll=nothing, free=nothing):
    return list(run_in_batches(inputs, batch, forward, poll, advice="do this", free=free))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_batches_keep_order_and_are_always_full(count):
    forward, inputs = Scarce(8), slices(count)
    made = batches(forward, iter(inputs), 4)
    np.testing.assert_array_equal([p for p, _ in made], [i[0] for i in inputs])
    assert set(forward.sizes) <= {4}


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_runs_out_halves_the_batch_and_loses_no_slice(error):
    forward, inputs, freed = Scarce(2, error), slices(9), []
    made = batches(forward, inputs, 8, free=lambda: freed.append(1))
    np.testing.assert_array_equal([p for p, _ in made], [i[0] for i in inputs])
    assert forward.sizes[:3] == [8, 4, 2]
    assert len(freed) == 2


def test_memory_for_not_even_one_slice_is_an_error_with_advice():
    with pytest.raises(DeviceError, match="single input; do this"):
        batches(Scarce(0), slices(3), 4)


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="shape mismatch"):
        batches(Scarce(0, RuntimeError("shape mismatch")), slices(2), 2)


def test_cancel_does_not_wait_for_a_slow_batch():
    release = threading.Event()

    def slow(stacked):
        release.wait(20)
        return stacked[:, 0], stacked[:, 0]

    began = time.monotonic()

    def poll():
        if time.monotonic() - began > 0.2:
            raise Cancelled("stop")

    try:
        with pytest.raises(Cancelled):
            batches(slow, slices(4), 2, poll)
        assert time.monotonic() - began < 2
    finally:
        release.set()


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("Can't allocate memory"), True),
        (RuntimeError("bad shape"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_memory_running_out(error, memory):
    assert is_out_of_memory(error) is memory


def test_a_task_s_own_timeout_is_not_mistaken_for_waiting():
    def task():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        wait_for(in_background(task), nothing)
    assert wait_for(in_background(lambda: 5), nothing) == 5


def test_waiting_polls_until_the_job_is_done():
    from concurrent.futures import Future

    job: Future[int] = Future()
    calls = []

    def poll():
        calls.append(1)
        if len(calls) == 3:
            job.set_result(7)

    assert wait_for(job, poll) == 7
    assert len(calls) == 3
