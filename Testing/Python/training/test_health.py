"""The health monitor: the right sentence for each state of the discriminator."""

import json

import pytest

from PESemiSegLib.training.health import HealthMonitor, HealthReport


def _report(**figures: float) -> HealthReport:
    monitor = HealthMonitor()
    monitor.add(figures)
    return monitor.report()


def test_a_good_discriminator_is_called_healthy() -> None:
    report = _report(L_D=0.35, D_on_masks=0.7, D_on_predictions=0.4)
    assert report.healthy
    assert any("healthy" in sentence for sentence in report.sentences)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"L_D": 0.69, "D_on_masks": 0.512, "D_on_predictions": 0.509}, "untrained"),
        ({"L_D": 0.05, "D_on_masks": 0.95, "D_on_predictions": 0.03}, "wins"),
    ],
)
def test_bad_ones_are_warned_of(figures: dict, words: str) -> None:
    report = _report(**figures)
    assert not report.healthy
    assert any(words in warning for warning in report.warnings)


def test_means_are_over_the_steps_since_the_last_report() -> None:
    monitor = HealthMonitor()
    for value in (0.2, 0.4, float("nan")):
        monitor.add({"L_D": value})
    assert monitor.report().figures["L_D"] == pytest.approx(0.3)
    monitor.add({"L_D": 0.5})
    assert monitor.report().figures["L_D"] == pytest.approx(0.5)
    assert monitor.report().figures == {}


@pytest.mark.parametrize(("share", "word"), [(0.0, "nothing"), (1.0, "everything")])
def test_blind_or_boundless_trust_is_warned_of_when_it_lasts(share: float, word: str) -> None:
    monitor = HealthMonitor(patience=2)
    monitor.add({"trusted_share": share})
    assert not monitor.report().warnings
    monitor.add({"trusted_share": share})
    assert any(word in warning for warning in monitor.report().warnings)


def test_a_jump_of_the_marked_share_is_warned_of() -> None:
    monitor = HealthMonitor()
    monitor.add({"positive_fraction_unlabelled": 0.001})
    assert not monitor.report().warnings
    monitor.add({"positive_fraction_unlabelled": 0.02})
    assert any("20-fold" in warning for warning in monitor.report().warnings)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"trusted_share": 0.6, "trusted_positive_share": 0.0}, "no marked pixel"),
        ({"D_on_unlabelled": 0.01, "D_on_predictions": 0.4}, "knows the site"),
        ({"sure_share": 0.0}, "sure of nothing"),
    ],
)
def test_unlabelled_figures_that_call_for_action(figures: dict, words: str) -> None:
    assert any(words in warning for warning in _report(**figures).warnings)


def test_healthy_unlabelled_figures_are_told_without_a_warning() -> None:
    report = _report(
        L_D=0.35,
        D_on_masks=0.7,
        D_on_predictions=0.4,
        D_on_unlabelled=0.35,
        L_semi=0.02,
        trusted_share=0.5,
        trusted_positive_share=0.5,
        sure_share=0.9995,
        sure_positive_share=0.3,
        positive_fraction_unlabelled=0.002,
    )
    assert report.healthy
    for words in ("L_semi", "trusts 50.0%", "sure of 100.0%", "0.200% of the unlabelled pixels are marked"):
        assert any(words in sentence for sentence in report.sentences), words


def test_a_model_that_marks_nothing_any_more_is_warned_of() -> None:
    monitor = HealthMonitor()
    monitor.add({"positive_fraction_unlabelled": 0.01})
    monitor.report()
    monitor.add({"positive_fraction_unlabelled": 0.0})
    assert any("0-fold" in warning for warning in monitor.report().warnings)


def test_the_monitor_goes_on_from_its_state() -> None:
    first, second = HealthMonitor(), HealthMonitor()
    for monitor in (first, second):
        monitor.add({"trusted_share": 0.0, "positive_fraction_unlabelled": 0.001})
        monitor.report()
        monitor.add({"trusted_share": 0.0, "L_D": 0.1 + 0.2})
    third = HealthMonitor()
    third.restore(json.loads(json.dumps(second.state())))
    assert third.report() == first.report()
    third.add({"positive_fraction_unlabelled": 0.1})
    assert any("100-fold" in warning for warning in third.report().warnings)
