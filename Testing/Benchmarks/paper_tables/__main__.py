"""`python Testing/Benchmarks/paper_tables`: runs what is missing of the tables, or renders what is stored."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import many
import running
from plan import Plan, plan
from rendering import render
from running import Places
from scales import SCALES, Scale

from PESemiSegLib.errors import Cancelled

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
        cells = whole.needed(given.only or [table.name for table in whole.tables])
        try:
            code = 1 if many.run(many.Work(whole, scale, places), cells, given.workers) else 0
        except Cancelled as stopped:
            _LOG.info("%s", stopped)
            code = 130
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(render(scale, whole, load(scale, whole, places)), encoding="utf-8")
    _LOG.info("written: %s", given.page)
    return code


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
    parser.add_argument("--workers", type=int, default=1, help="runs at once, each in a process of its own")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "out" / "tables")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--page", type=Path, default=REPOSITORY / "Docs" / "tables.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
