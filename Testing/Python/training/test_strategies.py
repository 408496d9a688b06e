"""Every strategy: who gets gradients, where D is trusted, learning by heart, going on after a stop."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledCrops
from PESemiSegLib.errors import Cancelled, ConfigError, InputError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.crops import Crops, placed
from PESemiSegLib.training.losses import adversarial_loss, segmentation_loss
from PESemiSegLib.training.plain import from_plain
from PESemiSegLib.training.settings import (
    MIX,
    OWN_STRATEGIES,
    STRATEGY_NAMES,
    AdversarialConfig,
    SemiConfig,
    TrustConfig,
)
from PESemiSegLib.training.strategies import STRATEGIES
from PESemiSegLib.training.strategies.adversarial import trusted_pixels
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors
from PESemiSegLib.training.strategies.method import frozen
from PESemiSegLib.training.trainer import Trainer

AT_ONCE = from_plain(SemiConfig, yaml.safe_load(Path(__file__).with_name("at_once.yaml").read_text()))
CONFIG = TrainConfig(
    network=NetworkConfig(width=4, upsample="bilinear"),
    discriminator=DiscriminatorConfig(channels=(8, 4)),
    sampling=SamplingConfig(batch=2, crop=32, augment=NO_AUGMENTATION),
    losses=LossConfig(dice_over="batch"),  # a crop without emboli has a Dice of no use
    semi=replace(AT_ONCE, cps=replace(AT_ONCE.cps, weight=0.1)),  # two fresh networks agree on little
    segmenter_optimiser=OptimiserConfig("adamw", lr=1e-2, warmup_iterations=0),
    iterations=4,
    validate_every=4,
    checkpoint_every=4,
)
ALL = [*STRATEGY_NAMES, f"fixmatch+{MIX}", f"adversarial_feature+{MIX}"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _config(strategy: str, **changes: Any) -> TrainConfig:
    kind = "mask_only" if strategy.startswith("adversarial_mask") else "feature"
    return replace(
        CONFIG, strategy=strategy, discriminator=DiscriminatorConfig(kind, channels=(8, 4)), **changes
    )


def _volume(seed: int = 4) -> CachedVolume:
    """Noise and bright squares; two of them with a dark clot that is the mask."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(-800, 20, (8, 64, 64))
    mask = np.zeros(hu.shape, np.uint8)
    for z, y, x in ((2, 10, 10), (3, 30, 40), (5, 44, 20), (6, 20, 50)):
        hu[z, y - 5 : y + 5, x - 5 : x + 5] = 300
    for z, y, x in ((2, 10, 10), (5, 44, 20)):
        hu[z, y - 3 : y + 3, x - 3 : x + 3] = 40
        mask[z, y - 3 : y + 3, x - 3 : x + 3] = 1
    image = hu.astype(np.int16)
    return CachedVolume("A", image, mask, find_anchors(image, mask, (1.0, 2.0), rng), 1.0, 2.0)


def _trainer(config: TrainConfig, folder: Path, **options: Any) -> Trainer:
    unlabelled = UnlabelledCrops([_volume(5)], replace(config.sampling, batch=config.semi.batch), 9)
    crops = Crops(LabelledCrops([_volume()], config.sampling, 1), None, unlabelled)
    return Trainer(config, crops, folder, **options)


def _batches(trainer: Trainer) -> tuple[LabelledTensors, ImageTensors]:
    """A labelled batch with emboli in it, and an unlabelled one."""
    for index in range(30):
        known, unknown = placed(*trainer.draw(index), trainer.device)
        if known.mask.sum() > 20:
            assert unknown is not None
            return known, unknown
    raise AssertionError("no batch with an embolus")


def _state(trainer: Trainer) -> dict[str, Tensor]:
    values = {f"{n}/{k}": v for n, p in trainer.strategy.learners.items() for k, v in p.state()[0].items()}
    return values | {
        f"{n}/{k}": v for n, a in trainer.strategy.averages.items() for k, v in a.state().items()
    }


def test_a_frozen_d_gets_no_gradient_while_s_does(tmp_path: Path) -> None:
    trainer = _trainer(_config("adversarial_feature", discriminator_every=7), tmp_path)
    before = {n: v.clone() for n, v in trainer.discriminator.module.state_dict().items()}
    figures = trainer.strategy.step(*_batches(trainer), Clock(1, 0.5)).figures
    assert {"L_adv", "L_semi"} <= figures.keys()
    assert "L_D" not in figures
    assert all(p.grad is None and p.requires_grad for p in trainer.discriminator.module.parameters())
    assert all(p.grad is not None for p in trainer.segmenter.module.parameters())
    for name, value in trainer.discriminator.module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_s_pleases_d_and_believes_it_from_their_starts_on(tmp_path: Path) -> None:
    starts = replace(CONFIG.semi.adversarial, adversarial_start=0.5, semi_start=0.25)
    found = []
    for progress in (0.2, 0.3, 0.5):
        config = _config("adversarial_feature", semi=replace(CONFIG.semi, adversarial=starts))
        trainer = _trainer(config, tmp_path)
        found.append(trainer.strategy.step(*_batches(trainer), Clock(1, progress)).figures.keys())
    assert [{"L_adv", "L_semi"} & names for names in found] == [set(), {"L_semi"}, {"L_adv", "L_semi"}]


def test_s_pleases_d_where_the_label_is_known(tmp_path: Path) -> None:
    trainer = _trainer(_config("adversarial_feature", discriminator_every=7), tmp_path)
    known, unknown = _batches(trainer)
    valid = torch.ones_like(known.mask)
    valid[..., 20:] = 0.0
    view = trainer.strategy.forward(known.image, unknown.image)[0]  # type: ignore[attr-defined]
    with torch.no_grad():
        confidence = trainer.discriminator.module(view.probability, view.features)
    losses = [float(adversarial_loss(confidence, where)) for where in (valid, None)]
    step = trainer.strategy.step(LabelledTensors(known.image, known.mask, valid), unknown, Clock(1, 0.5))
    assert step.figures["L_adv"] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("strategy", ["mean_teacher", f"supervised+{MIX}"])
def test_a_teacher_is_the_average_of_the_segmenter(tmp_path: Path, strategy: str) -> None:
    trainer = _trainer(_config(strategy), tmp_path)
    (teacher,) = trainer.strategy.averages.values()
    module, name = trainer.segmenter.module, next(iter(dict(trainer.segmenter.module.named_parameters())))
    expected = module.state_dict()[name].double().clone()
    for iteration in range(2):
        trainer.strategy.step(*_batches(trainer), Clock(iteration, 0.5))
        decay = (2.0 + iteration) / (11.0 + iteration)  # below the settings' own so early
        expected = decay * expected + (1.0 - decay) * module.state_dict()[name].double()
    torch.testing.assert_close(teacher.state()[name].double(), expected, rtol=1e-5, atol=1e-7)


def test_crops_are_mixed_from_their_start_on(tmp_path: Path) -> None:
    mix = replace(CONFIG.semi.cross_site_mix, start=0.5, style_probability=1.0)
    found = {}
    for strategy in ("supervised", f"supervised+{MIX}"):
        for progress in (0.4, 0.6):
            config = _config(strategy, semi=replace(CONFIG.semi, cross_site_mix=mix))
            trainer = _trainer(config, tmp_path)
            step = trainer.strategy.step(*_batches(trainer), Clock(0, progress))
            found[strategy, progress] = step.figures["L_seg"]
    plain, mixed = (
        [found[name, progress] for progress in (0.4, 0.6)] for name in ("supervised", f"supervised+{MIX}")
    )
    assert plain[0] == plain[1] == mixed[0]
    assert mixed[1] != mixed[0]


@pytest.mark.parametrize("detach", [True, False])
def test_the_loss_of_d_never_reaches_s(tmp_path: Path, detach: bool) -> None:
    found = []
    for every in (1, 7):
        config = _config("adversarial_feature", discriminator_every=every)
        config = replace(config, discriminator=replace(config.discriminator, detach_features=detach))
        trainer = _trainer(config, tmp_path)
        figures = trainer.strategy.step(*_batches(trainer), Clock(1, 0.5)).figures
        assert ("L_D" in figures) is (every == 1)
        found.append(trainer.segmenter.state()[0])
    assert [name for name, value in found[0].items() if not torch.equal(value, found[1][name])] == []


@pytest.mark.parametrize("detach", [True, False])
def test_detached_features_leave_the_mask_as_the_only_way_to_please_d(tmp_path: Path, detach: bool) -> None:
    config = _config("adversarial_feature")
    config = replace(config, discriminator=replace(config.discriminator, detach_features=detach))
    trainer = _trainer(config, tmp_path)
    judge: Any = trainer.discriminator.module
    with torch.no_grad():
        judge.body[0].weight[:, 0] = 0.0  # D is blind to the mask
    (view,) = trainer.strategy.forward(_batches(trainer)[0].image)  # type: ignore[attr-defined]
    with frozen(judge):
        adversarial_loss(judge(view.logits.sigmoid(), view.features)).backward()
    moved = max(
        float(p.grad.abs().max()) for p in trainer.segmenter.module.parameters() if p.grad is not None
    )
    assert (moved == 0.0) is detach


@pytest.mark.parametrize("strategy", ["supervised", "adversarial_feature", "fixmatch", "bcp"])
def test_pixels_without_a_known_label_have_no_part_in_l_seg(tmp_path: Path, strategy: str) -> None:
    found = []
    for change in (False, True):
        trainer = _trainer(_config(strategy), tmp_path)
        known, unknown = _batches(trainer)
        valid, mask = torch.ones_like(known.mask), known.mask.clone()
        valid[..., 20:] = 0.0
        if change:
            mask[..., 20:] = 1.0 - mask[..., 20:]
        step = trainer.strategy.step(LabelledTensors(known.image, mask, valid), unknown, Clock(0, 0.5))
        found.append(step.figures["L_seg"])
    assert found[0] == found[1]


def test_trust_is_a_value_or_a_quantile_of_all_or_of_each_class() -> None:
    confidence = torch.arange(8.0).view(1, 1, 2, 4) / 10
    marked = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.bool).view(1, 1, 2, 4)
    assert trusted_pixels(confidence, TrustConfig.parse(0.5)).flatten().tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    half = TrustConfig.parse("q0.5")
    assert trusted_pixels(confidence, half).sum() == 5  # the quantile itself is trusted
    assert trusted_pixels(confidence - 0.9, half, marked).flatten().tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    flipped = trusted_pixels(confidence.flip(3), half, marked).flatten().tolist()
    assert flipped == [1, 1, 0, 0, 1, 1, 1, 1]
    assert trusted_pixels(confidence, TrustConfig.parse("q0")).mean() == 1
    with pytest.raises(ConfigError, match="quantile"):
        TrustConfig.parse("half")


def test_every_strategy_has_its_name_and_its_plan(tmp_path: Path) -> None:
    assert tuple(STRATEGIES) == (*STRATEGY_NAMES, *OWN_STRATEGIES)
    starts = AdversarialConfig(adversarial_start=0.1, semi_start=0.25)
    config = replace(_config("adversarial_feature"), semi=SemiConfig(adversarial=starts), iterations=4000)
    plan = _trainer(config, tmp_path).strategy.timeline()
    assert any("confidence-masked loss" in line and "from iteration 1,000" in line for line in plan)
    assert any("L_adv" in line and "from iteration 400" in line for line in plan)
    with pytest.raises(ConfigError, match="mask_only"):
        replace(CONFIG, strategy="adversarial_mask")
    for wrong in ("gan", "fixmatch+bcp", f"{MIX}+{MIX}"):
        with pytest.raises(ConfigError, match="is not one of"):
            replace(CONFIG, strategy=wrong)


def test_batches_have_their_own_sizes_and_no_mask_can_be_reached(tmp_path: Path) -> None:
    trainer = _trainer(_config("fixmatch"), tmp_path)
    known, unknown = _batches(trainer)
    assert (len(known.image), len(unknown.image)) == (2, 3)
    assert [entry.name for entry in fields(ImageTensors)] == ["image"]
    assert trainer.crops.unlabelled is not None
    assert all(volume.mask is None for volume in trainer.crops.unlabelled.volumes)


@pytest.mark.parametrize("strategy", ALL)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, strategy: str) -> None:
    config = _config(strategy, iterations=3)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = _trainer(config, tmp_path / "whole")
    whole.run()
    first = _trainer(config, tmp_path / "parts", cancelled=lambda: first.iteration >= 2)
    with pytest.raises(Cancelled):
        first.run()
    second = _trainer(config, tmp_path / "parts")
    second.resume()
    assert second.health.state() == first.health.state()
    second.run()
    one, two = _state(whole), _state(second)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    other = _config("supervised" if strategy == "cps" else "cps")
    with pytest.raises(InputError, match=r"another (strategy|discriminator)"):
        _trainer(other, tmp_path / "parts").resume()


@pytest.mark.parametrize("strategy", [name for name in ALL if name != "supervised"])  # see test_trainer
def test_one_batch_can_be_learnt_by_heart(tmp_path: Path, strategy: str) -> None:
    trainer = _trainer(_config(strategy, discriminator_every=10), tmp_path)
    known, unknown = _batches(trainer)

    @torch.no_grad()
    def loss() -> float:
        return float(segmentation_loss(trainer.segmenter.module(known.image), known.mask, over="batch"))

    before = loss()
    for learner in trainer.strategy.learners.values():
        for group in learner.optimiser.param_groups:
            group["lr"] = 2e-2
    for iteration in range(10):
        trainer.strategy.step(known, unknown, Clock(iteration, 0.5))
    assert loss() < 0.75 * before


def test_the_end_can_be_called_and_the_best_networks_are_kept(tmp_path: Path) -> None:
    config = replace(_config("supervised"), iterations=50, validate_every=1, ema_decay=0.9, keep="best")
    crops = Crops(
        LabelledCrops([_volume()], config.sampling, 1), LabelledCrops([_volume()], config.sampling, 2)
    )
    events: list[dict[str, Any]] = []
    averages: list[dict[str, Tensor]] = []

    def listen(event: dict[str, Any]) -> None:
        events.append(event)
        if event["kind"] == "validation":
            averages.append({name: value.clone() for name, value in trainer.average.state().items()})

    trainer = Trainer(config, crops, tmp_path, listen=listen, enough=lambda: trainer.iteration >= 3)
    trainer.run()
    assert trainer.iteration == 3
    assert events[-1]["kind"] == "done"
    found = [event["dice"] for event in events if event["kind"] == "validation"]
    kept = trainer.best.load(config)
    assert kept is not None
    best = averages[int(np.argmax(found))]
    assert [name for name, value in kept[0].state_dict().items() if not torch.equal(value, best[name])] == []
    assert kept[2] == {"iteration": 1 + int(np.argmax(found)), "dice": max(found)}
