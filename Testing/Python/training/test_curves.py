"""The curves of a run: drawn from its record, the later row of an iteration counts, nothing from nothing."""

import csv
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.evaluation.drawing import COLOURS
from PESemiSegLib.training.curves import _PANELS, FIGURES, draw_curves
from PESemiSegLib.training.log import COLUMNS, RunLog


def _record(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _rows(seed: int, first: int, last: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for iteration in range(first, last + 1, 10):
        loss, trust, dice = draw.random(3).round(3)
        rows.append({"kind": "health", "iteration": iteration, "L_D_near": loss, "trusted_share": trust})
        rows.append({"kind": "validation", "iteration": iteration, "dice": dice})
    return rows


def test_every_figure_is_drawn_once_and_each_of_a_panel_in_its_own_colour() -> None:
    assert len(set(FIGURES)) == len(FIGURES)
    assert sorted(FIGURES) == sorted(set(COLUMNS) - {"iteration", "seconds", "kind", "lr", "gradient_norm"})
    assert max(len(panel.columns) for panel in _PANELS) <= len(COLOURS)


def test_a_run_that_went_back_to_a_checkpoint_is_drawn_as_it_ended(tmp_path: Path) -> None:
    lost, kept = _rows(1, 30, 50), _rows(2, 30, 60)
    start = _rows(0, 10, 20)
    with_lost = _record(tmp_path / "a.csv", start + lost + kept)
    without = _record(tmp_path / "b.csv", start + kept)
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    assert draw_curves(with_lost, pictures[0])
    assert draw_curves(without, pictures[1])
    first, second = (picture.read_bytes() for picture in pictures)
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_a_record_that_was_begun_with_fewer_columns_goes_on_with_them(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("iteration,L_seg,kind\n10,0.9,step\n")
    with RunLog(tmp_path, tensorboard=False) as log:
        log({"kind": "health", "iteration": 20, "seconds": 2.0, "figures": {"L_seg": 0.5, "L_D_near": 0.4}})
    assert path.read_text().splitlines() == ["iteration,L_seg,kind", "10,0.9,step", "20,0.5,health"]


def test_steps_alone_are_no_curve_and_a_stopped_run_does_not_wait_for_one(tmp_path: Path) -> None:
    with RunLog(tmp_path, tensorboard=False) as log:
        log({"kind": "step", "iteration": 10, "seconds": 1.0, "lr": 0.1, "L_seg": 1.0})
    assert not (tmp_path / "curves.png").exists()
    try:
        with RunLog(tmp_path, tensorboard=False) as log:
            log({"kind": "health", "iteration": 20, "seconds": 2.0, "figures": {"L_seg": 0.5}})
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert not (tmp_path / "curves.png").exists()
    with RunLog(tmp_path, tensorboard=False):
        pass
    assert (tmp_path / "curves.png").exists()


def test_a_picture_that_cannot_be_written_ends_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "curves.png").mkdir()  # as where somebody has it open
    with RunLog(tmp_path, tensorboard=False) as log:
        log({"kind": "health", "iteration": 20, "seconds": 2.0, "figures": {"L_seg": 0.5}})
    assert "curves.png" in caplog.text
    assert "0.5" in (tmp_path / "log.csv").read_text()
