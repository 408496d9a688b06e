"""Settings: round trips, presets, and refusals that name what is wrong."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.training import layout
from PESemiSegLib.training.config import LessonsConfig, OptimiserConfig, TrainConfig, read_yaml, write_yaml
from PESemiSegLib.training.export import settings_in_use
from PESemiSegLib.training.plain import from_plain, to_plain
from PESemiSegLib.training.presets import PRESETS, STAGES, preset
from PESemiSegLib.training.settings import STRATEGY_NAMES, Scheduled, split_strategy
from PESemiSegLib.training.unread import unread, without_effect


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_yaml(name: str, stage: str, tmp_path: Path) -> None:
    config = preset(name, stage)
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


def test_the_second_stage_of_the_paper_is_the_papers() -> None:
    config = preset("paper", "semi")
    s, d = config.segmenter_optimiser, config.discriminator_optimiser
    assert (config.strategy, config.discriminator.kind) == ("adversarial_feature", "feature")
    assert (s.kind, s.lr, s.momentum, s.weight_decay, s.poly_power) == ("sgd", 2e-4, 0.9, 5e-4, 0.9)
    assert (d.kind, d.lr, d.betas) == ("adam", 1e-4, (0.9, 0.99))
    assert (config.sampling.batch, config.semi.batch) == (4, 4)
    adversarial = config.semi.adversarial
    weights = (adversarial.weight_labelled, adversarial.weight_unlabelled, adversarial.weight_semi)
    assert weights == (0.01, 0.001, 0.1)
    assert (adversarial.trust, adversarial.semi_start, adversarial.remain) == (0.2, 0.25, False)
    assert config.iterations * adversarial.adversarial_start >= 500  # D warms up first
    shorter = preset("paper", "finetune")  # D's warm-up is not
    assert shorter.iterations == config.iterations / 2
    assert shorter.iterations * shorter.semi.adversarial.adversarial_start >= 500
    assert preset("mask_only", "semi").strategy == "adversarial_mask"
    assert preset("mask_only", "semi").semi.adversarial.remain


@pytest.mark.parametrize("stage", ["semi", "finetune"])
@pytest.mark.parametrize("name", ["modern", "cpu_demo"])
def test_our_second_stage_reads_three_labelled_crops_to_one(name: str, stage: str) -> None:
    first, config = preset(name), preset(name, stage)
    assert config.sampling.batch == 3 * config.semi.batch
    assert config.sampling.batch + config.semi.batch == 2 * first.sampling.batch  # the step costs the same


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).network.volume is None])
def test_every_preset_of_a_segmenter_takes_every_strategy(name: str, stage: str) -> None:
    for strategy in STRATEGY_NAMES:
        config = preset(name, stage, f"{strategy}+cross_site_mix")
        assert config.needs_unlabelled
        assert split_strategy(config.strategy) == (strategy, True)
    assert not preset(name, stage, "supervised").needs_unlabelled


def test_trust_is_a_number_or_a_quantile_in_yaml_too(tmp_path: Path) -> None:
    for trust in (0.3, "q0.5"):
        config = preset("paper", "semi").with_overrides(trust=trust)
        write_yaml(config, tmp_path / "run.yaml")
        assert read_yaml(tmp_path / "run.yaml").semi.adversarial.trust == trust


def test_the_weight_of_the_unlabelled_term_rises() -> None:
    schedule = Scheduled(start=0.2, ramp=0.4, weight=2.0)
    assert [schedule.factor(x) for x in (0.0, 0.19)] == [0.0, 0.0]
    assert schedule.factor(0.2) == pytest.approx(2.0 * math.exp(-5))
    assert schedule.factor(0.4) == pytest.approx(2.0 * math.exp(-1.25))
    assert schedule.factor(0.6) == schedule.factor(1.0) == 2.0
    assert Scheduled(start=0.2, ramp=0.0).factor(0.2) == 1.0


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
        ({"semi": {"adversarial": {"trust": "q2"}}}, "trust"),
        ({"semi": {"adversarial": {"balance": "some"}}}, "balance"),
        ({"semi": {"fixmatch": {"threshold": 0.2}}}, "threshold"),
        ({"semi": {"gan": {}}}, "gan"),
        ({"strategy": "gan"}, "gan"),
        ({"discriminator_start": 0.5, "strategy": "adversarial_feature"}, "discriminator_start"),
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


def test_the_card_holds_the_settings_of_the_strategy_in_use_alone() -> None:
    shown = {
        "supervised": None,
        "adversarial_mask": {"batch", "adversarial"},
        "fixmatch": {"batch", "strong", "fixmatch"},
        "bcp+cross_site_mix": {"batch", "bcp", "cross_site_mix"},
        "cross_site_mix": {"batch", "cross_site_mix"},
    }
    for strategy, parts in shown.items():
        config = preset("cpu_demo", "semi", strategy)
        card = settings_in_use(config)
        assert (set(card["semi"]) if parts else card.get("semi")) == parts
        assert card["sampling"] == to_plain(config)["sampling"]


def test_settings_that_nothing_looks_at_are_named() -> None:
    """Of the settings that a run ignores, those that somebody has set; of no preset any."""
    for name in PRESETS:
        for stage in STAGES:
            assert without_effect(preset(name, stage)) == [], name
    cpmn = preset("cpmn_small")
    sampling = replace(cpmn.sampling, crop=96, lung_box=True, batch=3, emboli=0.25)
    idle = without_effect(replace(cpmn, sampling=sampling, finish=LessonsConfig(iterations=9)))
    assert idle == ["sampling.crop", "sampling.lung_box", "finish.iterations"]
    alone = preset("cpmn_nct_small").with_overrides(semi={"cpmn": {"divergence": 1.0, "classification": 0.5}})
    assert without_effect(alone) == ["semi.cpmn.divergence"]
    bound = preset("stitchnet_beta").with_overrides(losses={"dice": 1.5, "real_label": 0.8})
    assert without_effect(bound) == ["losses.dice"]
    fixed = preset("cpu_demo", "semi", "fixmatch").with_overrides(trust="q0.7")
    assert without_effect(fixed) == ["semi.adversarial.trust"]
    assert "semi.adversarial.balance" in unread(preset("cpu_demo", "semi").with_overrides(trust=0.2))
    assert "semi.adversarial.balance" not in unread(preset("cpu_demo", "semi"))
    rate = OptimiserConfig(momentum=0.5, decay="cosine", poly_power=0.5)
    own = TrainConfig(segmenter_optimiser=rate)
    assert without_effect(own) == ["segmenter_optimiser.momentum", "segmenter_optimiser.poly_power"]


def test_what_is_said_to_be_ignored_is_there() -> None:
    config = TrainConfig()
    for name in {n for key in PRESETS for n in unread(preset(key))}:
        part: object = config
        for step in name.split("."):
            part = getattr(part, step)


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("cuda", [True, False])
def test_auto_is_bfloat16_where_the_device_computes_in_it(
    cpu: bool, cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "has_bf16", lambda where, engine: {"cpu": cpu, "cuda": cuda}[where])
    layout.in_bfloat16.cache_clear()
    assert layout.in_bfloat16("auto", "cpu") is cpu
    assert layout.in_bfloat16("auto", "cuda") is cuda
    assert not layout.in_bfloat16("auto", "mps")
    assert layout.in_bfloat16("bf16", "cpu")
    assert not layout.in_bfloat16("fp32", "cuda")
    layout.in_bfloat16.cache_clear()
