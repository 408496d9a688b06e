"""Settings: round trips, presets, and refusals that name what is wrong."""

from pathlib import Path

import pytest

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.training.config import TrainConfig, from_plain, read_yaml, to_plain, write_yaml
from PESemiSegLib.training.presets import PRESETS, preset


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_yaml(name: str, tmp_path: Path) -> None:
    config = preset(name)
    assert config.name == name
    write_yaml(config, tmp_path / "run.yaml")
    assert read_yaml(tmp_path / "run.yaml") == config


def test_the_paper_preset_is_the_papers() -> None:
    config = preset("paper")
    assert (config.network.width, config.network.upsample, config.network.stage4) == (48, "carafe", False)
    assert config.sampling.crop == 400
    assert config.sampling.hu_window == (-160.0, 240.0)
    assert (config.segmenter_optimiser.kind, config.segmenter_optimiser.lr) == ("sgd", 1e-4)
    assert (config.losses.bce, config.losses.dice, config.losses.dice_over) == (0.5, 1.0, "sample")
    assert config.discriminator.mask_weight == 5.0
    assert preset("mask_only").discriminator.channels == (64, 128, 256, 512)


def test_overrides_reach_the_parts_and_skip_none() -> None:
    config = preset("cpu_demo").with_overrides(width=8, context=1, seed=7, iterations=None)
    assert (config.network.width, config.network.context, config.sampling.context) == (8, 1, 1)
    assert config.seed == 7
    assert config.iterations == preset("cpu_demo").iterations


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"iterations": "many"}, "iterations"),
        ({"iterations": True}, "iterations"),
        ({"learning": 1}, "learning"),
        ({"network": {"width": 0}}, "width"),
        ({"network": {"context": 3}}, "context"),
        ({"segmenter_optimiser": {"lr": -1.0}}, "lr"),
        ({"segmenter_optimiser": {"kind": "ranger"}}, "ranger"),
        ({"losses": {"dice_over": "slice"}}, "dice_over"),
        ({"sampling": 3}, "SamplingConfig"),
        ({"spacing_mm": 90.0}, "spacing_mm"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        from_plain(TrainConfig, to_plain(TrainConfig()) | changes if "sampling" in changes else changes)


def test_files_that_are_no_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    for text in ("- a list\n", "a: [unclosed\n", "just words"):
        path.write_text(text)
        with pytest.raises(ConfigError):
            read_yaml(path)
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="cpu_demo"):
        preset("gpu")
