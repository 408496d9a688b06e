"""`make bench`: speed and memory of the demo model as ratios; writes Docs/benchmark.md and .json."""

from __future__ import annotations

import argparse
import datetime
import json
import logging
from pathlib import Path
from typing import Any

import memory
import peers
import slices
import torch
import volumes
from measuring import machine
from subjects import Model, find_model
from tables import PARTS, render

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measure the parts asked for, keep the others as last measured, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each subject per slice")
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS), help="measure these parts only"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=REPOSITORY / "Docs", help="folder of the two files"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("PESemiSegLib").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    table = arguments.output / "benchmark.json"
    results = json.loads(table.read_text()) if table.is_file() and arguments.only != list(PARTS) else {}
    model = find_model()
    for part in arguments.only:
        logging.info("measuring: %s", part)
        results[part] = {
            "machine": machine(),
            "model": _facts(model),
            **_measure(part, model, results, arguments),
        }
        _write(arguments.output, results)
    logging.info("written: %s", arguments.output / "benchmark.md")


def _measure(
    part: str, model: Model, results: dict[str, Any], arguments: argparse.Namespace
) -> dict[str, Any]:
    if part == "slices":
        return slices.measure(model, arguments.rounds)
    if part == "volume":
        return volumes.measure(model, max(2, arguments.rounds // 2))
    if part == "peers":
        volume = results["volume"]
        return peers.measure(volume["shape"], volume["box"], max(1, arguments.rounds // 2))
    return {"runs": [memory.measure(model, threads) for threads in (1, 2)]}


def _facts(model: Model) -> dict[str, Any]:
    return {
        "name": model.package.info.name if model.trained else "random weights",
        "trained": model.trained,
        "sha256": model.package.sha256,
        "network": model.package.info.network,
        "measured_on": datetime.date.today().isoformat(),
    }


def _write(folder: Path, results: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (folder / "benchmark.md").write_text(render(results), encoding="utf-8")


if __name__ == "__main__":
    main()
