"""Runs the cells of the tables, several at once, each in a process of its own; ancestors come first."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import cohort
import running
from plan import Cell, Plan
from running import Places
from scales import Scale

from PESemiSegLib.errors import Cancelled

_LOG = logging.getLogger("paper_tables")
_stop: Event | None = None


@dataclass(frozen=True)
class Work:
    """What every process is given."""

    plan: Plan
    scale: Scale
    places: Places


def run(work: Work, cells: Sequence[Cell], workers: int) -> int:
    """Run the cells whose figures are not stored, seed by seed: stopped early, the tables have whole rows.

    Returns how many failed. Raises Cancelled on Ctrl-C.
    """
    missing = sorted(wanted(work, cells), key=lambda cell: cell.seed)
    _make_patients(work, missing)
    context = get_context("spawn")
    stop = context.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    failed, queue = 0, Queue(missing)
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stop,)) as pool:
        futures: dict[Future[None], Cell] = {}
        while futures := futures | {pool.submit(_do, work, cell): cell for cell in queue.ready()}:
            if stop.is_set():
                pool.shutdown(wait=True, cancel_futures=True)
                raise Cancelled("Stopped; the same command goes on.")
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                cell = futures.pop(future)
                queue.finished(cell)
                if error := _error(future):
                    lost = queue.drop(cell)
                    failed += 1 + len(lost)
                    _LOG.error("%s: %s; with it go %d runs that start from it", cell.name, error, len(lost))
                elif not stop.is_set():
                    _LOG.info("%d of %d done: %s", len(missing) - queue.left, len(missing), cell.name)
    return failed


def wanted(work: Work, cells: Sequence[Cell]) -> list[Cell]:
    """The cells without figures, and those whose model another one starts from and is not there, in order.

    Otherwise several cells at once would make the same model.
    """
    left = {cell.name for cell in cells if running.stored(cell, work.scale, work.places) is None}
    for cell in reversed(cells):  # ancestors stand before those that start from them
        base = cell.base if cell.name in left else None
        if base and not running.has_model(base, work.scale, work.places):
            left.add(base.name)
    return [cell for cell in cells if cell.name in left]


class Queue:
    """Cells in their order; one that starts from another's model is ready when that one is finished."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._waiting = list(cells)
        self._unfinished = {cell.name for cell in cells}

    @property
    def left(self) -> int:
        """How many are not finished."""
        return len(self._unfinished)

    def ready(self) -> list[Cell]:
        """Those that can start now, each given once."""
        ready = [cell for cell in self._waiting if not self._waits(cell)]
        self._waiting = [cell for cell in self._waiting if self._waits(cell)]
        return ready

    def _waits(self, cell: Cell) -> bool:
        return cell.base is not None and cell.base.name in self._unfinished

    def finished(self, cell: Cell) -> None:
        """This one is over, well or not."""
        self._unfinished.remove(cell.name)

    def drop(self, cell: Cell) -> list[Cell]:
        """Give up all that start from this one; which they were."""
        lost = [other for other in self._waiting if other.base == cell]
        self._waiting = [other for other in self._waiting if other.base != cell]
        self._unfinished -= {other.name for other in lost}
        return lost + [further for other in lost for further in self.drop(other)]


def _error(future: Future[None]) -> BaseException | None:
    """Why a cell failed; one that was stopped did not."""
    error = future.exception()
    return None if isinstance(error, Cancelled) else error


def _make_patients(work: Work, cells: Sequence[Cell]) -> None:
    """All the scans that the cells need, before several processes look for them."""
    needed = {("A", "train")} | {(cell.target, "train") for cell in cells if cell.target}
    needed |= {(site, "test") for cell in cells for site in cell.tests}
    for site, split in sorted(needed) if cells else ():
        cohort.make(work.scale, site, split, work.places.patients)


def _begin(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it
    logging.getLogger("PESemiSegLib").setLevel(logging.WARNING)


def _do(work: Work, cell: Cell) -> None:
    assert _stop is not None
    if _stop.is_set():
        raise Cancelled("Stopped.")
    running.run(cell, work.scale, work.places, _stop.is_set)
    running.tidy(cell, work.scale, work.places, keep_model=work.plan.is_base(cell))
