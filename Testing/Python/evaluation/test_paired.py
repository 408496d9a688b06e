"""Paired tests against enumeration and SciPy, and the verdict's words."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import wilcoxon

from PESemiSegLib.evaluation.agreement import agreement_of, summarise_agreement
from PESemiSegLib.evaluation.before_after import case_lines
from PESemiSegLib.evaluation.bootstrap import bootstrap_share
from PESemiSegLib.evaluation.figures import COMPARED, Figure
from PESemiSegLib.evaluation.paired import paired, permutation_p, rank_biserial, wilcoxon_p
from PESemiSegLib.evaluation.summary import summarise
from PESemiSegLib.evaluation.verdict import agreement_sentences, judge

DICE = next(figure for figure in COMPARED if figure.key == "dice")
FALSE = next(figure for figure in COMPARED if figure.key == "false_marks_per_scan")


def _by_signs(difference: np.ndarray) -> float:
    """Every choice of signs, counted."""
    means = [abs(np.mean(difference * signs)) for signs in product((1, -1), repeat=len(difference))]
    return float(np.mean(np.array(means) >= abs(difference.mean()) - 1e-12))


@pytest.mark.parametrize("seed", range(3))
def test_permutation_is_enumeration_and_wilcoxon_is_scipys(seed: int) -> None:
    difference = np.random.default_rng(seed).normal(0.3, 0.5, 9)
    assert permutation_p(difference) == pytest.approx(_by_signs(difference))
    assert wilcoxon_p(difference) == pytest.approx(wilcoxon(difference).pvalue)


def test_tests_without_anything_to_test() -> None:
    assert permutation_p(np.zeros(5)) == wilcoxon_p(np.zeros(5)) == 1.0
    assert np.isnan(permutation_p(np.empty(0)))
    assert rank_biserial(np.zeros(3)) == 0.0
    assert rank_biserial(np.array([3.0, -1.0, 2.0])) == pytest.approx((3 + 2 - 1) / 6)


@pytest.mark.parametrize(("figure", "better"), [(DICE, 2), (FALSE, 1)])
def test_fewer_false_marks_are_better(figure: Figure, better: int) -> None:
    first = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": np.nan}
    second = {"a": 2.0, "b": 3.0, "c": 2.0, "d": 4.0, "e": 1.0}
    lower = figure.better == "lower"
    test = paired(figure.key, first, second, lower_is_better=lower)
    assert (test.better, test.equal, test.worse, test.left_out) == (better, 1, 3 - better, 1)
    assert test.difference.value == pytest.approx(0.25)
    with pytest.raises(ValueError, match="same patients"):
        paired(figure.key, first, {"a": 1.0})


def test_the_verdict_in_words(make_result) -> None:  # type: ignore[no-untyped-def]
    weak = [make_result(f"p{n}", 4, 1 + n % 2) for n in range(8)]
    strong = [make_result(f"p{n}", 4, 3 + n % 2, 3) for n in range(8)]
    better = judge(weak, strong)
    assert better.word == "better"
    assert str(better).startswith("The model after is better than the model before. Dice: ")
    assert "But worse: False marks per scan" in str(better)
    assert judge(strong, weak).word == "worse"
    same = judge(weak, weak)
    assert same.word == "no difference shown"
    few = judge(weak[:4], strong[:4])
    assert few.word == "no difference shown"
    assert "With 4 patients no difference could have been shown" in str(few)
    assert "p1" not in str(better)


def test_each_scan_and_each_site_in_words(make_result) -> None:  # type: ignore[no-untyped-def]
    before = [
        make_result("p1", 4, 1, site="A"),
        make_result("p2", 2, 2, site="B"),
        make_result("p3", 0, 0, 1),
    ]
    after = [make_result("p1", 4, 3, site="A"), make_result("p2", 2, 1, site="B"), make_result("p3", 0, 0, 0)]
    verdict = judge(before, after)
    assert case_lines(verdict) == [
        "P01, site A: Dice 0.40 before, 0.86 after; emboli found 1 and 3 of 4; false marks 0 and 0",
        "P02, site B: Dice 1.00 before, 0.67 after; emboli found 2 and 1 of 2; false marks 0 and 0",
        "P03, site A: no PE; false marks 1 and 0",
    ]
    assert "Of 6 emboli, 3 found before and 4 after: 2 gained, 1 lost." in verdict.sentences
    assert [text[:21] for text in verdict.sentences[-2:]] == [
        "Site A alone: Dice: 0",
        "Site B alone: Dice: 1",
    ]


def test_scans_without_pe_are_judged_by_false_marks(make_result) -> None:  # type: ignore[no-untyped-def]
    noisy = [make_result(f"p{n}", 0, 0, 4 + n % 2) for n in range(7)]
    quiet = [make_result(f"p{n}", 0, 0, n % 2) for n in range(7)]
    verdict = judge(noisy, quiet)
    assert verdict.word == "better"
    assert verdict.sentences[0] == "The model after makes fewer false marks than the model before."
    assert "False marks per scan" in verdict.sentences[1]
    assert verdict.sentences[2].startswith("No held-out patient has an annotated embolus; false marks alone")
    assert judge(quiet, noisy).sentences[0].startswith("The model after makes more false marks")
    assert judge(quiet, quiet).sentences[0].startswith("No difference in false marks was shown between")
    with_one = judge([*noisy, make_result("p7", 1, 1)], [*quiet, make_result("p7", 1, 1)])
    assert "No held-out patient" not in str(with_one)
    whole = summarise(quiet, resamples=50)
    assert (whole["scans_without_pe"], whole["scans_without_pe_and_marks"]) == (7, 4)
    assert np.isnan(whole["dice"].value)


def test_several_scans_of_a_patient_are_one_patient(make_result) -> None:  # type: ignore[no-untyped-def]
    results = [make_result("p1", 2, 2), make_result("p1", 2, 0), make_result("p2", 2, 2)]
    whole = summarise(results, resamples=50)
    assert whole["dice"].value == pytest.approx((0.5 + 1.0) / 2)
    assert (whole["scans"], whole["patients"], whole["dice"].patients) == (3, 2, 2)
    assert whole["lesion_sensitivity"].value == pytest.approx(4 / 6)


def test_none_and_all_have_intervals_too() -> None:
    all_of_them = bootstrap_share([2, 3], [2, 3])
    assert all_of_them.value == 1.0
    assert 0.2 < all_of_them.low < 0.5
    assert bootstrap_share([0, 0], [2, 3]).high > 0.5


def test_label_maps_agree_class_by_class() -> None:
    first, second = np.zeros((2, 1, 4, 8), np.uint8)
    first[0, :2, :4], first[0, 2:, :4] = 1, 2
    second[0, :2, :4], second[0, 2:, :2] = 1, 2
    assert agreement_of(first, second, 1.0, classes=3).dice == pytest.approx((1 + 2 * 4 / (8 + 4)) / 2)
    second[first == 1], second[first == 2] = 2, 1  # all alike but for the names
    assert agreement_of(first, second, 1.0, classes=3).dice == 0.0
    assert agreement_of(first, second, 1.0).dice == 1.0
    only = np.where(first == 1, 1, 0)
    assert agreement_of(only, only, 1.0, classes=4).dice == 1.0  # classes that neither marks do not count
    assert np.isnan(agreement_of(only * 0, only * 0, 1.0, classes=4).dice)


def test_agreement_is_told_as_such() -> None:
    first, second = np.zeros((2, 6, 6)), np.zeros((2, 6, 6))
    first[0, 1:3, 1:3] = second[0, 1:3, 1] = second[1, 5, 5] = 1
    agreement = agreement_of(first, second, 10.0, ("p", "A"))
    assert (agreement.first_marks, agreement.second_marks, agreement.shared_marks) == (1, 2, 1)
    assert agreement.dice == pytest.approx(2 * 2 / (4 + 3))
    empty = agreement_of(first * 0, first * 0, 10.0, ("q", "A"))
    summary = summarise_agreement([agreement, empty])
    assert summary["scans_neither_marks"] == 1
    assert summary["dice_between_models"].value == pytest.approx(4 / 7)
    assert "no verdict" in agreement_sentences(summary)[0]
