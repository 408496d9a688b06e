"""Intervals: their coverage on a toy, their edge cases, and the tables they go into."""

import csv
import io
import json
import math

import numpy as np
import pytest

from PESemiSegLib.evaluation.bootstrap import bootstrap_mean, bootstrap_ratio
from PESemiSegLib.evaluation.tables import to_csv, to_json, to_markdown


def test_ninety_percent_intervals_hold_the_truth_about_ninety_times_in_a_hundred() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(300):
        interval = bootstrap_mean(list(rng.beta(4, 2, 30)), level=0.9, resamples=400, seed=trial)
        inside += interval.low <= 4 / 6 <= interval.high
    assert 0.83 <= inside / 300 <= 0.95  # percentile intervals of 30 patients are a little short


def test_ratios_resample_patients_not_lesions() -> None:
    """Ten patients of 20 lesions, all found or all missed: a lesion-wise interval would be too short."""
    found, all_of_them = [20.0] * 5 + [0.0] * 5, [20.0] * 10
    interval = bootstrap_ratio(found, all_of_them)
    assert interval.value == 0.5
    assert interval.high - interval.low > 0.4
    as_if_independent = bootstrap_ratio([1.0] * 100 + [0.0] * 100, [1.0] * 200)
    assert as_if_independent.high - as_if_independent.low < 0.2


def test_the_pooled_ratio_weighs_patients_by_their_lesions() -> None:
    assert bootstrap_ratio([1, 0], [1, 9]).value == pytest.approx(0.1)


def test_nan_is_left_out_and_nothing_gives_nan() -> None:
    interval = bootstrap_mean([0.2, math.nan, 0.4])
    assert interval.value == pytest.approx(0.3)
    assert interval.patients == 2
    assert math.isnan(bootstrap_mean([math.nan]).value)
    assert math.isnan(bootstrap_ratio([], []).value)
    assert str(bootstrap_mean([])) == "n/a"


def test_the_same_seed_gives_the_same_interval() -> None:
    values = list(np.random.default_rng(1).random(12))
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)


def test_tables_say_the_same_in_three_forms() -> None:
    rows = [{"patient": "a|b", "dice": 0.51234}, {"patient": "c", "dice": math.nan}]
    markdown = to_markdown(rows).splitlines()
    assert markdown[0] == "| patient | dice |"
    assert markdown[2] == "| a\\|b | 0.512 |"
    assert markdown[3] == "| c | n/a |"
    assert [row["dice"] for row in csv.DictReader(io.StringIO(to_csv(rows)))] == ["0.51234", "nan"]
    assert json.loads(to_json({"rows": rows, "interval": bootstrap_mean([1.0])}))["rows"][1]["dice"] is None
    assert to_markdown([]) == to_csv([]) == ""


def test_a_csv_has_one_number_per_column() -> None:
    rows = [
        {"model": "a", "Dice": bootstrap_mean([0.25, 0.75])},
        {"model": "b", "Dice": bootstrap_mean([1.0])},
    ]
    first, second = csv.DictReader(io.StringIO(to_csv(rows)))
    assert list(first) == ["model", "Dice", "Dice low", "Dice high", "Dice patients"]
    assert float(first["Dice"]) == 0.5
    assert float(first["Dice low"]) <= 0.5 <= float(first["Dice high"])
    assert (second["Dice"], second["Dice low"], second["Dice patients"]) == ("1.0", "nan", "1")
