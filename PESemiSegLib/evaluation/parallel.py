"""Runs work on every case: one after another, or several at once, each in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import (
    Cancelled,
    ConfigError,
    DeviceError,
    InputError,
    OutputError,
    PESemiSegError,
)
from PESemiSegLib.evaluation.folds import Model, asked_of, sendable

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

CancelCheck = Callable[[], bool]
_ASK_EVERY_S = 0.1
_stop: Event | None = None


R = TypeVar("R")


@dataclass(frozen=True)
class CaseDone(Generic[R]):
    """Progress: so many of all cases are done; the last one's result per model, and if all were stored."""

    done: int
    total: int
    results: tuple[R, ...]
    stored: bool


class Work(Protocol):
    """What is done with a case; `to_send` gives a copy that can be pickled."""

    @property
    def stores(self) -> bool:
        """Whether the outcome of a finished case is kept, and found again when the work is done again."""

    def do(self, case: Case, cancelled: CancelCheck | None) -> Any:
        """The outcome of one case; raises Cancelled and other PESemiSegErrors."""

    def to_send(self) -> Any:
        """The same work for another process."""


@dataclass(frozen=True)
class OfModels:
    """What all work with models has: the models."""

    packages: tuple[Model, ...]

    def of(self, case: Case) -> tuple[ModelPackage, ...]:
        """Those that read a case."""
        return tuple(asked_of(model, case) for model in self.packages)

    def to_send(self) -> Self:
        """See `Work`."""
        return replace(self, packages=tuple(map(sendable, self.packages)))


def by_model(
    work: Work,
    cases: Sequence[Case],
    jobs: int,
    progress: Callable[[CaseDone[Any]], None],
    cancelled: CancelCheck | None,
) -> list[list[Any]]:
    """Per model the results in the order of the cases, of work whose outcome is (a result per model, stored).

    Raises what `outcomes` raises.
    """
    found: dict[int, tuple[Any, ...]] = {}
    for index, (results, stored) in outcomes(work, cases, jobs, cancelled):
        found[index] = results
        progress(CaseDone(len(found), len(cases), results, stored))
    return [list(results) for results in zip(*(found[index] for index in range(len(cases))), strict=True)]


def outcomes(
    work: Work, cases: Sequence[Case], jobs: int = 1, cancelled: CancelCheck | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield number and outcome of every case, as they come.

    Raises Cancelled at once; and InputError with a list of the cases that failed, after all others are done.
    """
    if jobs < 1:
        raise ConfigError(f"jobs {jobs} must be at least 1")
    jobs = min(jobs, len(cases))
    run = _in_processes(work, cases, jobs, cancelled) if jobs > 1 else _here(work, cases, cancelled)
    problems: dict[int, PESemiSegError] = {}
    for index, outcome in run:
        if isinstance(outcome, PESemiSegError):
            problems[index] = outcome
        else:
            yield index, outcome
    if problems:
        listed = "; ".join(f"case {index + 1}: {error}" for index, error in sorted(problems.items()))
        again = " into the same folder: finished ones are not computed anew" if work.stores else ""
        raise InputError(
            f"{len(problems)} of {len(cases)} cases cannot be measured. {listed} Mend or exclude these and "
            f"run again{again}."
        )


def _here(work: Work, cases: Sequence[Case], cancelled: CancelCheck | None) -> Iterator[tuple[int, Any]]:
    for index, case in enumerate(cases):
        yield index, _done(work, case, cancelled)


def _in_processes(
    work: Work, cases: Sequence[Case], jobs: int, cancelled: CancelCheck | None
) -> Iterator[tuple[int, Any]]:
    """Raises DeviceError when a process dies, of lack of memory say."""
    context = get_context("spawn")  # threads and CUDA do not survive a fork
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(stop,))
    sent = work.to_send()
    try:
        numbers: dict[Future[Any], int] = {
            pool.submit(_do, sent, case): index for index, case in enumerate(cases)
        }
        left = set(numbers)
        while left:
            done, left = wait(left, timeout=_ASK_EVERY_S, return_when="FIRST_COMPLETED")
            if cancelled is not None and cancelled():
                kept = "; the results of finished scans are kept" if work.stores else ""
                raise Cancelled(f"The evaluation was stopped{kept}.")
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


def _do(work: Work, case: Case) -> Any:
    return _done(work, case, _stop.is_set if _stop is not None else None)


def _done(work: Work, case: Case, cancelled: CancelCheck | None) -> Any:
    """The outcome, or an error that concerns this case alone."""
    try:
        return work.do(case, cancelled)
    except (Cancelled, OutputError, DeviceError, ConfigError):
        raise
    except PESemiSegError as error:
        return error
