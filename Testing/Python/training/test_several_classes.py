"""Three classes through losses, strategies, sampling and the loop; one sigmoid channel as it always was."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.cohorts.anchors import EMBOLUS, find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION, crop_transform, warp_labels
from PESemiSegLib.cohorts.cache import CachedVolume, resample_mask
from PESemiSegLib.cohorts.replay import worst_spots
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledCrops
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks import outputs
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import LessonsConfig, LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.crops import Crops
from PESemiSegLib.training.losses import near_marks, segmentation_loss, soften, sure_pixels, trusted_loss
from PESemiSegLib.training.presets import preset, with_strategy
from PESemiSegLib.training.settings import (
    STRATEGY_NAMES,
    AdversarialConfig,
    BcpConfig,
    CpsConfig,
    CrossSiteMixConfig,
    FixMatchConfig,
    MeanTeacherConfig,
    PseudoLabelConfig,
    SemiConfig,
    UniMatchConfig,
)
from PESemiSegLib.training.trainer import Event, Trainer

EARLY = SemiConfig(
    batch=2,
    adversarial=AdversarialConfig(
        adversarial_start=0.0,
        semi_start=0.0,
        trust="q0.5",
        balance="positive_fraction",
        semi_dice=0.5,
        remain=True,
    ),
    pseudo_label=PseudoLabelConfig(start=0, ramp=0, threshold=0.5),
    mean_teacher=MeanTeacherConfig(ramp=0),
    cps=CpsConfig(ramp=0),
    fixmatch=FixMatchConfig(start=0, ramp=0, threshold=0.5, teacher_decay=0.9),
    unimatch=UniMatchConfig(start=0, ramp=0, threshold=0.5),
    bcp=BcpConfig(start=0),
    cross_site_mix=CrossSiteMixConfig(start=0, threshold=0.5),
)
ONE_CHANNEL = TrainConfig(
    network=NetworkConfig(width=4, context=3, carafe_mid=4),
    sampling=SamplingConfig(batch=2, crop=32, context=3, replay=0.5),
    discriminator=DiscriminatorConfig(channels=(8, 4)),
    losses=LossConfig(dice_over="batch", real_label=0.9, soften_mask_pixels=1.0, background_weight=0.1),
    semi=EARLY,
    segmenter_optimiser=OptimiserConfig("adamw", lr=5e-3, warmup_iterations=2),
    iterations=3,
    ema_decay=0.9,
    validate_every=3,
    validation_batches=2,
    checkpoint_every=3,
    finish=LessonsConfig(iterations=1, crop=32),
)
THREE = replace(
    ONE_CHANNEL,
    kind="arteries",
    network=replace(ONE_CHANNEL.network, classes=3),
    sampling=replace(ONE_CHANNEL.sampling, classes=3),
)


def _volume(classes: int = 2, seed: int = 4) -> CachedVolume:
    rng = np.random.default_rng(seed)
    hu = rng.normal(-800, 20, (8, 64, 64))
    mask = np.zeros(hu.shape, np.uint8)
    for z, y, x in ((2, 10, 10), (3, 30, 40), (5, 44, 20), (6, 20, 50)):
        hu[z, y - 5 : y + 5, x - 5 : x + 5] = 300
    for label, (z, y, x) in enumerate(((2, 10, 10), (5, 44, 20)), start=1):
        hu[z, y - 3 : y + 3, x - 3 : x + 3] = 40
        mask[z, y - 3 : y + 3, x - 3 : x + 3] = min(label, classes - 1)
    image = hu.astype(np.int16)
    return CachedVolume("A", image, mask, find_anchors(image, mask, (1.0, 2.0), rng, classes), 1.0, 2.0)


def _run(config: TrainConfig, folder: Path, *, unlabelled: bool) -> tuple[Trainer, list[Event]]:
    torch.set_num_threads(1)
    known, strange = _volume(config.network.classes), _volume(config.network.classes, 5)
    crops = Crops(
        LabelledCrops([known], config.sampling, 1),
        LabelledCrops([known], config.sampling, 2),
        UnlabelledCrops([strange], replace(config.sampling, batch=2), 3) if unlabelled else None,
    )
    events: list[Event] = []
    trainer = Trainer(config, crops, folder, listen=events.append)
    trainer.run()
    return trainer, [event for event in events if event["kind"] == "step"]


def test_one_channel_is_bit_for_bit_what_it_was_before_there_were_several() -> None:
    """The formulas as they stood then; whole runs of every strategy were compared when they changed."""
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(3, 1, 24, 20, generator=generator)
    target = (torch.rand(3, 1, 24, 20, generator=generator) > 0.8).float()
    valid = (torch.rand(3, 1, 24, 20, generator=generator) > 0.3).float()
    p = logits.sigmoid()
    for over, axes in (("sample", (1, 2, 3)), ("batch", (0, 1, 2, 3))):
        ratio = (2.0 * (p * target).sum(axes) + 1e-5) / (p.sum(axes) + target.sum(axes) + 1e-5)
        old = 0.5 * F.binary_cross_entropy_with_logits(logits, target) + 1.0 * (1.0 - ratio.mean())
        assert torch.equal(segmentation_loss(logits, target, over=over), old)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    old = (each * valid).sum() / valid.sum()
    assert torch.equal(segmentation_loss(logits, target, 1.0, 0.0, valid=valid), old)
    label = (logits > 0).float()
    each = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
    groups = (valid * label, valid * (1.0 - label))
    means = torch.stack([(each * group).sum() / group.sum() for group in groups])
    assert torch.equal(trusted_loss(logits, valid, balance="positive_fraction"), means.mean())
    assert torch.equal(sure_pixels(p, 0.7), (torch.maximum(p, 1.0 - p) >= 0.7).float())
    near = F.max_pool2d(torch.maximum(target, (p > 0.5).float()), 5, stride=1, padding=2)
    assert torch.equal(near_marks(target, p, 2), near)


@pytest.mark.parametrize("strategy", [*STRATEGY_NAMES, "fixmatch+cross_site_mix"])
def test_every_strategy_takes_three_classes(strategy: str, tmp_path: Path) -> None:
    config = replace(with_strategy(THREE, strategy), iterations=1)
    trainer, steps = _run(config, tmp_path, unlabelled=strategy != "supervised")
    assert all(math.isfinite(value) for value in steps[-1].values() if isinstance(value, float))
    assert trainer.segmenter.module(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert trainer.discriminator.module.mask_channels == 3  # type: ignore[union-attr]


def _random(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 1, 5, 6), generator=generator)
    return logits, torch.zeros_like(logits).scatter_(1, labels, 1.0)


def test_the_loss_of_three_classes_is_monais() -> None:
    logits, target = _random()
    expected = DiceCELoss(softmax=True, include_background=False, lambda_ce=0.5)(logits, target)
    assert segmentation_loss(logits, target).item() == pytest.approx(expected.item(), rel=1e-9)


def test_two_pixels_by_hand() -> None:
    """p = (1/2, 1/4, 1/4) at both pixels; the first is aorta, the second background."""
    logits = torch.log(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    target = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    target[0, 1, 0, 0] = target[0, 0, 0, 1] = 1.0
    cross_entropy = segmentation_loss(logits, target, bce=1.0, dice=0.0)  # Eq. 3 of Tan et al., as a mean
    assert cross_entropy.item() == pytest.approx((math.log(4) + math.log(2)) / 2)
    aorta, artery = 2 * 0.25 / (0.5 + 1.0), 0.0
    dice = segmentation_loss(logits, target, bce=0.0, dice=1.0)
    assert dice.item() == pytest.approx(1 - (aorta + artery) / 2, abs=1e-4)
    valid = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    assert segmentation_loss(logits, target, 1.0, 0.0, valid=valid).item() == pytest.approx(math.log(4))
    trusted = trusted_loss(logits, valid)  # Eq. 6: the likeliest class, background, where D trusts it
    assert trusted.item() == pytest.approx(math.log(2))


def test_outputs_of_one_and_of_three_channels() -> None:
    logits, _ = _random(1)
    p = outputs.probabilities(logits)
    assert torch.allclose(p.sum(1), torch.ones(2, 5, 6, dtype=p.dtype))
    hard = outputs.decided(logits)
    assert torch.equal(hard, outputs.decided(p, 0.5))
    assert torch.equal(hard.argmax(1), logits.argmax(1))
    assert torch.equal(outputs.foreground(hard)[:, 0], (logits.argmax(1) > 0).double())
    assert torch.equal(outputs.sureness(p)[:, 0], p.max(1).values)
    assert torch.equal(outputs.foreground(outputs.empty_mask(p)), torch.zeros(2, 1, 5, 6, dtype=p.dtype))
    one = logits[:, :1]
    assert torch.equal(outputs.probabilities(one), one.sigmoid())
    assert torch.equal(outputs.decided(one), (one > 0).double())
    assert torch.equal(outputs.empty_mask(one), torch.zeros_like(one))
    assert sure_pixels(p, 0.9).shape == (2, 1, 5, 6)


def test_marks_are_near_and_soft_class_by_class() -> None:
    mask = torch.zeros(1, 3, 41, 41)
    mask[:, 0] = 1.0
    mask[0, :, 20, 20] = torch.tensor([0.0, 0.0, 1.0])
    near = near_marks(mask, outputs.empty_mask(mask))
    assert near.shape == (1, 1, 41, 41)
    assert near.sum() == 17 * 17
    soft = soften(mask, 1.0)
    assert torch.allclose(soft.sum(1), torch.ones(1, 41, 41), atol=1e-6)
    assert torch.allclose(soft[:, 2:], soften(mask[:, 2:], 1.0))


def test_adversarial_stage_of_tan_et_al_needs_no_unlabelled_scan(tmp_path: Path) -> None:
    """Eq. 2, then Eq. 5: without unlabelled crops, and before semi_start, L_adv of labelled ones alone."""
    semi = replace(EARLY, adversarial=AdversarialConfig(0.01, 0.001, 0.1, 0.0, 0.5, labelled_first=True))
    judge = DiscriminatorConfig(kind="mask_only", channels=(4, 4))
    config = replace(THREE, strategy="adversarial_mask", discriminator=judge, semi=semi, iterations=4)
    assert config.takes_unlabelled
    assert not config.needs_unlabelled
    _, alone = _run(config, tmp_path, unlabelled=False)
    assert all("L_adv" in step and "L_semi" not in step for step in alone)
    (tmp_path / "both").mkdir()
    _, both = _run(config, tmp_path / "both", unlabelled=True)
    assert ["L_semi" in step for step in both] == [False, False, True, True]
    assert ["L_adv_unlabelled" in step for step in both] == [False, False, True, True]


def test_crops_carry_every_class() -> None:
    volume = _volume(3)
    marks = volume.anchors[volume.anchors[:, 0] == EMBOLUS]
    assert volume.mask is not None
    found = np.unique(volume.mask[tuple(marks[:, 1:].T)], return_counts=True)
    assert [list(part) for part in found] == [[1, 2], [36, 36]]
    sampling = replace(THREE.sampling, emboli=1.0, vessels=0.0, lookalikes=0.0, augment=NO_AUGMENTATION)
    batch = LabelledCrops([volume], sampling, 1).batch(0)
    assert batch.mask.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(batch.mask.sum(1), 1.0)


def test_turned_labels_are_those_of_each_class_alone() -> None:
    rng = np.random.default_rng(2)
    plane = np.kron(rng.integers(0, 3, (6, 6)), np.ones((8, 8))).astype(np.uint8)
    transform = crop_transform((24.0, 24.0), 32, replace(NO_AUGMENTATION, rotation_deg=10.0), rng)
    joint = warp_labels(plane, transform, 32, 3)
    np.testing.assert_array_equal(joint.sum(0), 1.0)
    for value in (1, 2):
        alone = warp_labels((plane == value).astype(np.uint8), transform, 32, 2)[0]
        assert np.mean(alone != joint[value]) < 0.02  # at corners of three classes the largest share wins
    np.testing.assert_array_equal(resample_mask(plane[None], (1.0, 1.0), 1.0, 3)[0], plane)
    assert set(np.unique(resample_mask(plane[None], (1.0, 1.0), 1.7, 3))) == {0, 1, 2}


def test_the_worst_spot_is_where_one_class_is_taken_for_another() -> None:
    mask = np.zeros((1, 3, 32, 32), np.float32)
    mask[0, 1, :, :16], mask[0, 2, :, 16:] = 1.0, 1.0
    guess = mask.copy()
    guess[0, 1:, 4:12, 4:12] = guess[0, :0:-1, 4:12, 4:12]
    spot = worst_spots(guess, mask, np.array([7]), np.array([3]), np.array([[[1.0, 0, 0], [0, 1.0, 0]]]))[0]
    assert (spot[0], spot[1]) == (7, 3)
    assert abs(spot[2] - 7.5) <= 2
    assert abs(spot[3] - 7.5) <= 2
    assert spot[4] > 0.7


def test_settings_of_another_kind_are_refused() -> None:
    for changes in ({"kind": "veins"}, {"kind": "arteries"}, {"network": THREE.network}):
        with pytest.raises(ConfigError, match="kind"):
            replace(ONE_CHANNEL, **changes)  # type: ignore[arg-type]


def test_the_presets_of_tan_et_al_are_the_papers() -> None:
    config = preset("tan2022")
    assert config.kind == "arteries"
    assert (config.network.architecture, config.network.classes, config.sampling.crop) == ("unet2d", 3, 512)
    assert config.discriminator.channels == (64, 128, 256, 512, 512)
    assert (config.losses.bce, config.losses.dice) == (1.0, 0.0)
    adversarial = config.semi.adversarial
    assert (adversarial.semi_start, adversarial.adversarial_start) == (1500 / 5000, 0.0)
    assert (adversarial.weight_labelled, adversarial.weight_semi, adversarial.trust) == (0.01, 0.1, 0.2)
    assert not adversarial.remain
    optimiser = config.segmenter_optimiser
    assert (optimiser.kind, optimiser.betas[0], optimiser.weight_decay) == ("adam", 0.9, 1e-4)
    assert preset("tan2022", strategy="supervised").strategy == "supervised"
    for size, width in (("", 64), ("_small", 12)):
        network = preset(f"tan2022_attention{size}").network
        assert (network.architecture, network.width, network.classes) == ("attention_unet", width, 3)
