"""The health monitor: the right sentence for each state of the discriminator."""

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
