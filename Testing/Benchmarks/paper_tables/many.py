"""Runs the cells of the tables, several at once, each in a process of its own; ancestors come first."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import cohort
import running
from plan import Cell, Plan
from running import Places
from scales import Scale

from PESemiSegLib.errors import Cancelled, PESemiSegError

_LOG = logging.getLogger("paper_tables")
_stop: Event | None = None


@dataclass(frozen=True)
class Work:
    """What every process is given."""

    plan: Plan
    scale: Scale
    places: Places


def run(work: Work, cells: Sequence[Cell], workers: int) -> int:
    """Run the cells whose figures are not stored; returns how many failed. Raises Cancelled on Ctrl-C."""
    missing = [cell for cell in cells if running.stored(cell, work.scale, work.places) is None]
    _make_patients(work, missing)
    context = get_context("spawn")
    stop = context.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    failed = done = 0
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stop,)) as pool:
        for generation in generations(missing):
            futures = {pool.submit(_do, work, cell): cell for cell in generation}
            for future in as_completed(futures):
                done += 1
                try:
                    future.result()
                except Cancelled:
                    continue
                except PESemiSegError as error:
                    _LOG.error("%s: %s", futures[future].name, error)
                    failed += 1
                    continue
                _LOG.info("%d of %d: %s", done, len(missing), futures[future].name)
            if stop.is_set():
                raise Cancelled("Stopped; the same command goes on.")
    return failed


def generations(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """The cells in their order, in groups: all that start from a cell's model come in a later group."""
    left = list(cells)
    while left:
        waiting = {cell.name for cell in left}
        ready = [cell for cell in left if cell.base not in waiting]
        yield ready
        left = [cell for cell in left if cell not in ready]


def _make_patients(work: Work, cells: Sequence[Cell]) -> None:
    """All the scans that the cells need, before several processes look for them."""
    wanted = {("A", "train")} | {(cell.target, "train") for cell in cells if cell.target}
    wanted |= {(site, "test") for cell in cells for site in cell.tests}
    for site, split in sorted(wanted) if cells else ():
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
    running.run(cell, work.plan, work.scale, work.places, _stop.is_set)
    running.tidy(cell, work.scale, work.places, keep_model=work.plan.is_base(cell))
