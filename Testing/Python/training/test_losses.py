"""The losses against MONAI, scalars worked out by hand, and autograd's own view of who learns from what."""

import math

import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from PESemiSegLib.training.losses import (
    adversarial_loss,
    dice_loss,
    discriminator_loss,
    near_marks,
    segmentation_loss,
    soften,
    sure_pixels,
    trusted_loss,
)


def _pair(seed: int = 0, positives: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(3, 1, 17, 12, requires_grad=True), (torch.rand(3, 1, 17, 12) < positives).float()


@pytest.mark.parametrize("positives", [0.2, 0.0, 1.0])
def test_the_segmentation_loss_is_monais(positives: float) -> None:
    logits, target = _pair(positives=positives)
    reference = DiceCELoss(sigmoid=True, lambda_ce=0.5, lambda_dice=1.0)(logits, target)
    torch.testing.assert_close(segmentation_loss(logits, target), reference)


def test_dice_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [-math.log(3.0), 0.0]]).view(1, 1, 2, 2)  # p = .5 .75 .25 .5
    target = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    assert dice_loss(logits, target).item() == pytest.approx(1 - 2 * 1.25 / 4.0, abs=1e-5)


def test_batch_dice_punishes_marks_on_an_empty_crop_and_sample_dice_hardly_does() -> None:
    target = torch.zeros(2, 1, 8, 8)
    target[0, 0, :4] = 1
    right = torch.where(target > 0, 10.0, -10.0)
    false = right.clone()
    false[1, 0, :4] = 10.0
    assert dice_loss(false, target, "batch") - dice_loss(right, target, "batch") > 0.3
    logits = torch.full((1, 1, 8, 8), -4.0, requires_grad=True)
    dice_loss(logits, torch.zeros(1, 1, 8, 8), "sample").backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_discriminator_loss_by_hand() -> None:
    real, fake = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    assert discriminator_loss(real, fake).item() == pytest.approx(math.log(2))  # 0.69: the blind one
    real, fake = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    expected = 0.5 * math.log1p(math.exp(-2)) + 0.5 * math.log1p(math.exp(-1))
    assert discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-5)
    smooth = discriminator_loss(real, fake, real_label=0.9).item()
    assert smooth == pytest.approx(expected + 0.5 * 0.1 * 2.0, rel=1e-5)
    weight = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    pixels = torch.tensor([2.0, 50.0]).view(1, 1, 1, 2)
    assert discriminator_loss(pixels, pixels * 0 - 1, weight=weight).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_adversarial_loss_wants_ones() -> None:
    assert adversarial_loss(torch.zeros(1, 1, 3, 3)).item() == pytest.approx(math.log(2))
    assert adversarial_loss(torch.full((1, 1, 3, 3), 30.0)).item() == pytest.approx(0.0, abs=1e-9)


def test_trusted_loss_looks_at_trusted_pixels_only() -> None:
    logits = torch.tensor([2.0, -3.0, 0.5, 4.0]).view(1, 1, 2, 2).requires_grad_()
    trusted = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    loss = trusted_loss(logits, trusted)
    expected = (math.log1p(math.exp(-2.0)) + math.log1p(math.exp(-3.0))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert torch.all(logits.grad[0, 0, 1] == 0)
    assert trusted_loss(logits, torch.zeros_like(trusted)).item() == 0.0


def test_softening_keeps_the_sum_inside_and_the_range() -> None:
    mask = torch.zeros(1, 1, 33, 33)
    mask[0, 0, 14:19, 14:19] = 1
    soft = soften(mask, 1.0)
    assert soft.sum().item() == pytest.approx(25.0, rel=1e-4)
    assert 0 <= soft.min() <= soft.max() <= 1
    assert soft[0, 0, 16, 16] < 1
    assert soften(mask, 0.0) is mask
    torch.testing.assert_close(soften(torch.ones(1, 1, 20, 20), 2.0), torch.ones(1, 1, 20, 20))


def test_near_marks_covers_truth_and_prediction() -> None:
    mask, probability = torch.zeros(1, 1, 40, 40), torch.zeros(1, 1, 40, 40)
    mask[0, 0, 5, 5], probability[0, 0, 30, 30] = 1, 0.9
    near = near_marks(mask, probability, 2)
    assert near.sum() == 50
    assert near[0, 0, 3, 7] == 1
    assert near[0, 0, 28, 32] == 1


def test_bce_is_the_stable_one() -> None:
    logits = torch.tensor([200.0, -200.0]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert torch.isfinite(segmentation_loss(logits, target))
    assert F.binary_cross_entropy_with_logits(logits, target).item() == 0.0


def test_the_segmentation_loss_of_valid_pixels_is_that_of_the_pixels_alone() -> None:
    logits, target = (x.detach().double() for x in _pair())
    valid = torch.zeros_like(target)
    valid[..., :7, :] = 1
    for over in ("sample", "batch"):
        whole = segmentation_loss(logits, target, over=over, valid=valid)
        part = segmentation_loss(logits[..., :7, :], target[..., :7, :], over=over)
        torch.testing.assert_close(whole, part)
        torch.testing.assert_close(
            segmentation_loss(logits, target, over=over, valid=torch.ones_like(valid)),
            segmentation_loss(logits, target, over=over),
        )
        assert segmentation_loss(logits, target, over=over, valid=torch.zeros_like(valid)) == 0


def test_balanced_trust_weighs_marked_and_unmarked_pixels_alike() -> None:
    logits = torch.tensor([2.0, -3.0, -1.0, -4.0]).view(1, 1, 2, 2)
    trusted = torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 2, 2)
    marked, others = math.log1p(math.exp(-2.0)), [math.log1p(math.exp(-x)) for x in (3.0, 1.0)]
    expected = 0.5 * marked + 0.5 * sum(others) / 2
    found = trusted_loss(logits, trusted, balance="positive_fraction").item()
    assert found == pytest.approx(expected, rel=1e-5)
    plain = trusted_loss(logits, trusted).item()
    assert plain == pytest.approx((marked + sum(others)) / 3, rel=1e-5)


def test_fakes_may_be_more_than_masks() -> None:
    real, fake = torch.full((1, 1, 1, 1), 2.0), torch.tensor([-1.0, 3.0]).view(2, 1, 1, 1)
    fake_weight = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    fakes = (math.log1p(math.exp(-1)) + 3 * math.log1p(math.exp(3))) / 4
    found = discriminator_loss(real, fake, weight=torch.ones(1, 1, 1, 1), fake_weight=fake_weight).item()
    assert found == pytest.approx(0.5 * math.log1p(math.exp(-2)) + 0.5 * fakes, rel=1e-5)


def test_sure_pixels_are_those_far_from_a_half() -> None:
    probability = torch.tensor([0.04, 0.06, 0.5, 0.94, 0.96]).view(1, 1, 1, -1)
    assert sure_pixels(probability, 0.95).flatten().tolist() == [1, 0, 0, 0, 1]
