"""What the health monitor says of StitchNet's styles, labels and latents."""

import pytest

from PESemiSegLib.training.health import HealthMonitor


def _of_styles(**changes: float) -> dict[str, float]:
    names = ("kl_z", "kl_k", "styles_apart", "label_variety")
    usual = {"kl_z": 0.02, "kl_k": 0.01, "styles_apart": 0.4, "label_variety": 0.2}
    figures = usual | {f"{name}_unlabelled": usual[name] for name in names}
    figures |= {f"class_{n}_unlabelled": share for n, share in enumerate((0.6, 0.05, 0.05, 0.3))}
    return figures | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"styles_apart_unlabelled": 0.01}, "all styles of lung are alike"),
        ({"label_variety_unlabelled": 0.001}, "the same segmentation"),
        ({"kl_k": 1e-6}, "latents of the labels are empty"),
    ],
)
def test_styles_that_collapse_are_told(changes: dict[str, float], said: str | None) -> None:
    """The report's negative result: alike styles, and one segmentation, on unlabelled images."""
    monitor = HealthMonitor()
    monitor.add(_of_styles(**changes))
    report = monitor.report()
    assert any("60.0%, 5.0%, 5.0%, 30.0%" in text for text in report.sentences)
    assert len(report.warnings) == (said is not None)
    assert said is None or said in report.warnings[0]


def test_one_crop_has_no_variety_to_be_judged_by() -> None:
    """Batches of one, of either kind: no figure, and no warning."""
    for missing in ("label_variety", "label_variety_unlabelled"):
        figures = _of_styles(label_variety_unlabelled=0.0)
        del figures[missing]
        monitor = HealthMonitor()
        monitor.add(figures)
        assert not monitor.report().warnings


def test_styles_of_labelled_crops_alone_are_told_and_judged_by_nothing() -> None:
    monitor = HealthMonitor()
    monitor.add({"kl_z": 0.02, "kl_k": 0.01, "styles_apart": 0.4, "label_variety": 0.2})
    report = monitor.report()
    assert any("0.40" in text for text in report.sentences)
    assert not report.warnings
