"""Several scans at once, each in a process of its own; all stop together."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import Any

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import Cancelled, DeviceError, PESemiSegError

_ASK_EVERY_S = 0.1
_stop: Event | None = None


def in_processes(
    work: Any, cases: Sequence[Case], jobs: int, cancelled: Callable[[], bool] | None
) -> Iterator[tuple[int, Any]]:
    """`work.do(case, cancelled)` for every case; yields its number with the outcome or the expected error.

    `work` must be picklable. Raises Cancelled, and DeviceError when a process dies, of lack of memory say.
    """
    context = get_context("spawn")  # threads and CUDA do not survive a fork
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(stop,))
    try:
        numbers: dict[Future[Any], int] = {
            pool.submit(_do, work, case): index for index, case in enumerate(cases)
        }
        left = set(numbers)
        while left:
            done, left = wait(left, timeout=_ASK_EVERY_S, return_when="FIRST_COMPLETED")
            if cancelled is not None and cancelled():
                raise Cancelled("The evaluation was stopped; the results of finished scans are kept.")
            for future in done:
                yield numbers[future], future.result()
    except BrokenProcessPool as error:
        raise DeviceError(
            "A process that measured a scan has died, perhaps of lack of memory; run again with fewer --jobs."
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(stop: Event) -> None:
    """In a new process: leave Ctrl-C to the parent, and end with it however it ends."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(work: Any, case: Case) -> Any:
    try:
        return work.do(case, _stop.is_set if _stop is not None else None)
    except Cancelled:
        raise
    except PESemiSegError as error:
        return error
