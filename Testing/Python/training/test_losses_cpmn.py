"""CPMN's losses against cases computed by hand in float64, and whom they teach."""

import math

import numpy as np
import pytest
import torch

from PESemiSegLib.training.losses import segmentation_loss
from PESemiSegLib.training.losses_cpmn import (
    alignment_loss,
    centre_loss,
    divergence,
    mimicry,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def unit(features):
    """Voxels' features at unit length, (C, voxels)."""
    values = features.transpose(0, 1).flatten(1)
    return values / values.norm(dim=0)


def test_focal_loss_by_hand_and_of_two_channels():
    logits = torch.tensor([0.3, -1.2, 2.0, -4.0], dtype=torch.double).reshape(1, 1, 2, 2)
    target = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.double).reshape(1, 1, 2, 2)
    expected = 0.0
    for z, t in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        p_t = p if t else 1 - p
        expected -= (1 - p_t) ** 2 * math.log(p_t) / 4
    loss = segmentation_loss(logits, target, bce=1.0, dice=0.0, focal_gamma=2.0)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    from monai.losses import FocalLoss

    two = torch.cat([torch.zeros_like(logits), logits], 1)
    softmax = FocalLoss(gamma=2.0, use_softmax=True, to_onehot_y=True)(two, target)
    assert 2 * softmax.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_of_log_probabilities_is_smooth_where_they_are_certain(gamma):
    """What StitchNet's labels are, at p = 0, 1/2 and 1: its own log-softmax, and no slope without bound."""
    log_labels = torch.tensor([[-200.0, 0.0], [math.log(0.5)] * 2, [0.0, -200.0]]).T.reshape(1, 2, 1, 3)
    log_labels.requires_grad_()
    label = torch.zeros(1, 2, 1, 3)
    label[:, 1] = 1.0
    label[..., 0] = label[..., 0].flip(1)  # wrong: 200 nats
    loss = segmentation_loss(log_labels, label, 1.0, 0.0, valid=torch.ones(1, 1, 1, 3), focal_gamma=gamma)
    expected = (200.0 + 0.5**gamma * math.log(2.0) + 200.0) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert torch.isfinite(log_labels.grad).all()


def test_divergence_by_hand_and_whom_it_teaches():
    n = torch.tensor([[0.2, 1.1], [-0.7, 0.4]], dtype=torch.double, requires_grad=True)
    c = torch.tensor([[1.5, -0.3], [0.0, 2.0]], dtype=torch.double, requires_grad=True)

    def softmax(row):
        total = sum(math.exp(v) for v in row)
        return [math.exp(v) / total for v in row]

    one = two = 0.0
    for row_n, row_c in zip(n.tolist(), c.tolist(), strict=True):
        p2, p1 = softmax(row_n), softmax(row_c)
        one += sum(a * math.log(a / b) for a, b in zip(p2, p1, strict=True)) / 2
        two += sum(b * math.log(b / a) for a, b in zip(p2, p1, strict=True)) / 2
    assert divergence(n, c).item() == pytest.approx(one, rel=1e-12)
    assert mimicry(n, c).item() == pytest.approx(two, rel=1e-12)
    for loss in (divergence, mimicry):
        n.grad = c.grad = None
        loss(n, c).backward()
        assert c.grad is None
        assert n.grad is not None
        assert n.grad.abs().sum() > 0
    # the gradient of D_KL(p2 || p1): p2 * (log(p2 / p1) - D_KL), per row
    n.grad = None
    divergence(n, c).backward()
    for row, grad, row_c in zip(n.tolist(), n.grad.tolist(), c.tolist(), strict=True):
        p2, p1 = softmax(row), softmax(row_c)
        ratio = [math.log(a / b) for a, b in zip(p2, p1, strict=True)]
        kl = sum(a * r for a, r in zip(p2, ratio, strict=True))
        np.testing.assert_allclose(grad, [a * (r - kl) / 2 for a, r in zip(p2, ratio, strict=True)])


def plain_alignment(n, c, grid, reach):
    """Loops over nodes, with numpy."""
    total = 0.0
    for own, other in zip(n.numpy(), c.numpy(), strict=True):
        found = []
        for values in (own, other):
            depth, height, width = values.shape[1:]
            steps = [size // wanted for size, wanted in zip((depth, height, width), grid, strict=True)]
            nodes = {}
            for z in range(grid[0]):
                for y in range(grid[1]):
                    for x in range(grid[2]):
                        part = values[
                            :,
                            z * steps[0] : (z + 1) * steps[0],
                            y * steps[1] : (y + 1) * steps[1],
                            x * steps[2] : (x + 1) * steps[2],
                        ]
                        nodes[z, y, x] = part.mean((1, 2, 3))
            found.append(nodes)
        squares = []
        for i in found[0]:
            for j in found[0]:
                if reach and max(abs(a - b) for a, b in zip(i, j, strict=True)) > reach:
                    continue
                a = [f[i] @ f[j] / np.linalg.norm(f[i]) / np.linalg.norm(f[j]) for f in found]
                squares.append((a[1] - a[0]) ** 2)
        total += np.mean(squares)
    return total / len(n)


@pytest.mark.parametrize("reach", [0, 1])
def test_alignment_by_loops(reach):
    n, c = normal(2, 5, 3, 8, 4, seed=1).requires_grad_(), normal(2, 5, 3, 8, 4, seed=2).requires_grad_()
    loss = alignment_loss(n, c, (3, 4, 4), reach)
    expected = plain_alignment(n.detach(), c.detach(), (3, 4, 4), reach)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert c.grad is None
    assert n.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda v: alignment_loss(v, c, (2, 2, 2)), normal(1, 5, 3, 8, 4).requires_grad_()
    )


def test_alignment_knows_no_length_and_small_maps():
    n = normal(1, 6, 1, 2, 2)
    assert alignment_loss(n, 7.0 * n).item() == pytest.approx(0.0, abs=1e-15)
    assert alignment_loss(torch.zeros_like(n), n).isfinite()
    assert alignment_loss(n[..., :1, :1], -n[..., :1, :1]).item() == pytest.approx(0.0, abs=1e-15)  # one node


def test_centre_loss_by_hand():
    """At unit length background is (1, 0), (0, 1) and the embolus (0.6, 0.8), (1, 0)."""
    points = torch.tensor([[1.0, 0], [0, 2], [3, 4], [5, 0]], dtype=torch.double)
    features = points.T.reshape(1, 2, 4, 1, 1).clone()
    mask = torch.tensor([0.0, 0, 1, 1], dtype=torch.double).reshape(1, 1, 4, 1, 1)
    # centres (0.5, 0.5) and (0.8, 0.4): squared distances 0.5 and 0.04 + 0.16
    assert centre_loss(features, mask).item() == pytest.approx(0.5 * 0.5 + 0.5 * 0.2, rel=1e-12)
    assert torch.autograd.gradcheck(lambda v: centre_loss(v, mask), normal(1, 2, 4, 1, 1).requires_grad_())


def test_centre_loss_is_not_lowered_by_small_features():
    features, mask = normal(1, 4, 3, 5, 5), (normal(1, 1, 3, 5, 5, seed=1) > 1).double()
    torch.testing.assert_close(centre_loss(1e-3 * features, mask), centre_loss(features, mask))


def test_centre_loss_of_one_class_alone_and_of_a_batch():
    features = normal(2, 3, 2, 2, 2)
    none = torch.zeros(2, 1, 2, 2, 2, dtype=torch.double)
    flat = unit(features)
    alone = 0.5 * (flat - flat.mean(1, keepdim=True)).square().sum(0).mean()
    torch.testing.assert_close(centre_loss(features, none), alone)
    torch.testing.assert_close(centre_loss(features, 1 - none), alone)


def test_centre_loss_is_as_exact_as_its_features():
    """Far from 0, of rare marks, in float32 and bfloat16, beside sums over one class at a time in float64."""
    features, mask = 40.0 + normal(2, 4, 6, 20, 20), (normal(2, 1, 6, 20, 20, seed=1) > 2.5).double()
    inside = mask.flatten() > 0
    for dtype in (torch.float32, torch.bfloat16):
        own = features.to(dtype).requires_grad_()
        loss = centre_loss(own, mask.float())
        values = unit(own.detach().double())
        classes = (values[:, ~inside], values[:, inside])
        expected = sum(0.5 * (c - c.mean(1, keepdim=True)).square().sum(0).mean() for c in classes)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        loss.backward()
        assert own.grad.dtype == dtype
