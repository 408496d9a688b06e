"""The health monitor: the right sentence for each state of the discriminator."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from PESemiSegLib.training.config import LossConfig
from PESemiSegLib.training.finish import teach
from PESemiSegLib.training.health import HEALTHY_LOSS, HealthMonitor, HealthReport


def _report(**figures: float) -> HealthReport:
    monitor = HealthMonitor()
    monitor.add(figures)
    return monitor.report()


def test_a_good_discriminator_is_called_healthy() -> None:
    report = _report(L_D=0.66, L_D_near=0.35, D_on_masks=0.7, D_on_predictions=0.4)
    assert not report.warnings
    assert any("healthy" in sentence for sentence in report.sentences)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"L_D_near": 0.69, "D_on_masks": 0.512, "D_on_predictions": 0.509}, "untrained"),
        ({"L_D": 0.6, "L_D_near": 0.05, "D_on_masks": 0.95, "D_on_predictions": 0.03}, "wins"),
    ],
)
def test_bad_ones_are_warned_of(figures: dict, words: str) -> None:
    report = _report(**figures)
    assert any(words in warning for warning in report.warnings)


def test_a_discriminator_that_saw_no_marks_is_neither_healthy_nor_warned_of() -> None:
    report = _report(L_D=0.69)
    assert not any("healthy" in sentence for sentence in report.sentences)
    assert not report.warnings
    assert any("has seen no marks" in sentence for sentence in report.sentences)


class _Blinkered:
    """A learner whose D parts mask from prediction near marks and says 0.5 everywhere else."""

    def __init__(self, near: np.ndarray) -> None:
        self._near, self.descended = torch.from_numpy(near).float(), {}

    def module(self, seen: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        sides = torch.tensor([1.0, -0.5, 7.0])[: len(seen)]  # masks, predictions, those of unlabelled crops
        return sides[:, None, None, None] * self._near

    def descend(self, terms: dict[str, torch.Tensor]) -> None:
        self.descended = {name: float(term) for name, term in terms.items()}


def test_the_discriminator_is_judged_where_there_is_something_to_tell_apart() -> None:
    mask, probability = torch.zeros(2, 1, 1, 96, 96)
    mask[..., 20:24, 20:24], probability[..., 60, 60] = 1.0, 0.9
    near = ndimage.maximum_filter((mask + probability > 0.5).numpy(), (1, 1, 17, 17))
    learner, features = _Blinkered(near), torch.zeros(1, 4, 96, 96)
    beside = (probability, features)
    for more in (None, beside):
        figures = teach(learner, LossConfig(real_label=1.0), mask, probability, features, more_fakes=more)  # type: ignore[arg-type]
        assert learner.descended == {"L_D": figures["L_D"]}
        told = 0.5 * math.log(1 + math.exp(-1.0)) + 0.5 * math.log(1 + math.exp(-0.5))
        assert figures["L_D_near"] == pytest.approx(told, rel=1e-5)
        if more is None:
            whole = near.mean() * told + (1 - near.mean()) * math.log(2)
            assert figures["L_D"] == pytest.approx(whole, rel=1e-5)
            assert figures["L_D"] > HEALTHY_LOSS[1]
        assert not _report(**figures).warnings
    softer = teach(learner, LossConfig(real_label=0.9), mask, probability, features)  # type: ignore[arg-type]
    assert softer["L_D_near"] == pytest.approx(told, rel=1e-5)  # one scale, whatever D learns
    assert softer["L_D"] != figures["L_D"]
    empty = teach(learner, LossConfig(), 0 * mask, 0 * probability, features)  # type: ignore[arg-type]
    assert set(empty) == {"L_D"}


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
        L_D_near=0.35,
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
    assert not report.warnings
    for words in ("L_semi", "trusts 50.0%", "sure of 100.0%", "0.200% of the unlabelled pixels are marked"):
        assert any(words in sentence for sentence in report.sentences), words


def test_a_model_that_marks_nothing_any_more_is_warned_of() -> None:
    monitor = HealthMonitor()
    monitor.add({"positive_fraction_unlabelled": 0.01})
    monitor.report()
    monitor.add({"positive_fraction_unlabelled": 0.0})
    assert any("0-fold" in warning for warning in monitor.report().warnings)


def test_lessons_after_the_training_leave_what_was_said_of_it() -> None:
    monitor = HealthMonitor(patience=1)
    monitor.add({"trusted_share": 0.0, "L_D_near": 0.3})
    monitor.report()
    monitor.restore(json.loads(json.dumps(monitor.state())))
    monitor.add({"L_D_near": 0.1})
    told = monitor.report(lessons=True)
    assert told.figures == {"trusted_share": 0.0, "L_D_near": 0.1}
    assert "trusts nothing" in told.warnings[0]
    assert "last lessons" in told.warnings[1]
    assert "the discriminator wins" in told.warnings[1]
    assert not monitor.report(lessons=True).figures


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
