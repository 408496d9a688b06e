"""The record of a run: `log.csv`, its curves as a picture, TensorBoard files, and `events.jsonl`."""

from __future__ import annotations

import csv
import json
import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from PESemiSegLib.errors import OutputError
from PESemiSegLib.training.curves import CURVES, FIGURES, draw_curves

_LOG = logging.getLogger(__name__)
COLUMNS = ("iteration", "seconds", "lr", "gradient_norm", *FIGURES, "kind")
TABLE, EVENTS = "log.csv", "events.jsonl"
_EVERY = 10  # steps per row
_DRAW_EVERY_S = 60.0


class RunLog:
    """Listens to a trainer's events. Appends, so that a resumed run goes on in the same files.

    The curves are drawn anew at a health report, at most once a minute, and at the end.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self._folder, self._drawn = folder, time.monotonic()
        path = folder / TABLE
        columns = _columns_of(path)
        self._table = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._table, columns or COLUMNS, extrasaction="ignore")
        if not columns:
            self._rows.writeheader()
        self._events = (folder / EVENTS).open("a", encoding="utf-8")
        self._board = _board(folder) if tensorboard else None

    def __call__(self, event: dict[str, Any]) -> None:
        """Write one event; steps and lessons every tenth time, everything else at once."""
        kind, iteration = event["kind"], int(event["iteration"])
        if kind in ("step", "lesson") and int(event.get("number", iteration)) % _EVERY:
            return
        values = event | event.get("figures", {})
        if kind in ("step", "lesson", "validation", "health"):
            self._rows.writerow({n: _short(values[n]) for n in COLUMNS if n in values})
            self._table.flush()
            if self._board is not None:
                for name in COLUMNS[2:-1]:
                    if name in values:
                        self._board.add_scalar(f"{kind}/{name}", values[name], iteration)
        if kind not in ("step", "lesson"):
            self._events.write(json.dumps(event, default=float) + "\n")
            self._events.flush()
        if kind == "health" and time.monotonic() - self._drawn > _DRAW_EVERY_S:
            self._draw()

    def _draw(self) -> None:
        try:
            draw_curves(self._folder / TABLE, self._folder / CURVES)
        except ModuleNotFoundError:
            _LOG.info("matplotlib is not installed; log.csv holds the curves")
        except OutputError as error:  # a picture that somebody has open ends no training
            _LOG.warning("%s", error)
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Flush and close every file."""
        self._table.close()
        self._events.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:  # who wants to stop does not wait for a picture
            self._draw()


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _LOG.info("tensorboard is not installed; log.csv holds the curves")
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _columns_of(table: Path) -> list[str]:
    """The columns of a record that another version may have begun; empty where there is none."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
