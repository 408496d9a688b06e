"""`python Testing/Benchmarks/paper_tables`: runs what is missing of the tables, or renders what is stored."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

import running
from plan import Plan, plan
from rendering import render
from running import Places
from scales import SCALES, Scale

from PESemiSegLib.errors import Cancelled, PESemiSegError

REPOSITORY = Path(__file__).resolve().parents[3]
_LOG = logging.getLogger("paper_tables")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 some cells failed, 130 stopped; a new start goes on."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("PESemiSegLib").setLevel(logging.WARNING)
    scale = SCALES[given.preset]
    places = Places(given.work / scale.name, given.results / scale.name)
    whole = plan(scale)
    code = 0
    if given.action == "run":
        code = run(scale, whole, places, given.only or [table.name for table in whole.tables])
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(render(scale, whole, load(scale, whole, places)), encoding="utf-8")
    _LOG.info("written: %s", given.page)
    return code


def run(scale: Scale, whole: Plan, places: Places, only: list[str]) -> int:
    """Every cell of these tables, one after another; what fails is told, and the rest goes on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cells = whole.needed(only)
    failed = 0
    for done, cell in enumerate(cells):
        if running.stored(cell, scale, places) is not None:
            continue
        _LOG.info("run %d of %d: %s", done + 1, len(cells), cell.name)
        try:
            running.run(cell, whole, scale, places, stop.is_set)
        except Cancelled:
            _LOG.info("stopped; the same command goes on")
            return 130
        except PESemiSegError as error:
            _LOG.error("%s: %s", cell.name, error)
            failed += 1
            continue
        running.tidy(cell, scale, places, keep_model=whole.is_base(cell))
    return 1 if failed else 0


def load(scale: Scale, whole: Plan, places: Places) -> dict[str, dict[str, object]]:
    """The stored results that belong to this plan, by cell; those of other settings are told and left out."""
    found = {}
    for name, cell in whole.cells.items():
        result = running.stored(cell, scale, places)
        if result is not None:
            found[name] = result
        elif places.result(cell).exists():
            _LOG.warning("%s was measured with other settings and is left out", name)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paper_tables", description=__doc__)
    parser.add_argument("action", choices=("run", "render"))
    parser.add_argument("--preset", choices=sorted(SCALES), default="reduced")
    parser.add_argument("--only", nargs="+", help='tables, such as T4 T5 "T4 B-image"')
    parser.add_argument("--work", type=Path, default=REPOSITORY / "out" / "tables")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--page", type=Path, default=REPOSITORY / "Docs" / "tables.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
