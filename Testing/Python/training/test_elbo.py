"""The bound's parts against scipy, MONAI, torch.distributions and sums over all label images."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from PESemiSegLib.networks.ladder import Gaussian, Inferred
from PESemiSegLib.training import elbo


def _styles(seed: int = 0, classes: int = 4, size: tuple[int, int] = (3, 2)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(2, classes, 2, *size, generator=generator)


def _image(size: tuple[int, int] = (3, 2)) -> Tensor:
    return (
        torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(9)) * 2.4 - 1.2
    )  # beyond the window


def _parameters(styles: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey value, mean and precision as documented, in float64 numpy."""
    x = (np.clip(_image().double().numpy(), -1, 1) + 1) / 2
    logit, raw = styles.double().numpy()[:, :, 0], styles.double().numpy()[:, :, 1]
    return x, 1 / (1 + np.exp(-logit)), np.exp(math.log(1000) / (1 + np.exp(-raw)))


def test_the_beta_is_scipys() -> None:
    styles = _styles()
    x, mean, precision = _parameters(styles)
    mean = 0.001 + 0.998 * mean
    expected = stats.beta.logpdf(0.002 + 0.996 * x, mean * precision, (1 - mean) * precision)
    found = elbo.log_appearance(_image(), styles, "beta").numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_the_gaussian_is_scipys_and_as_wide_as_the_beta() -> None:
    styles = _styles(1)
    x, mean, precision = _parameters(styles)
    width = np.sqrt(0.25 / (1 + precision))
    found = elbo.log_appearance(_image(), styles, "gaussian").numpy()
    np.testing.assert_allclose(found, stats.norm.logpdf(x, mean, width), rtol=2e-3, atol=2e-3)
    middle = torch.zeros(1, 1, 2, 1, 1)
    widths = [elbo.appearance(middle, kind).variance.item() for kind in ("beta", "gaussian")]
    assert widths[0] == pytest.approx(widths[1], rel=1e-5)


def test_the_bernoulli_is_a_cross_entropy_of_grey_values() -> None:
    styles = _styles(2)
    x, mean, _ = _parameters(styles)
    expected = x * np.log(mean) + (1 - x) * np.log(1 - mean)
    found = elbo.log_appearance(_image(), styles, "bernoulli").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["bernoulli", "beta", "gaussian"])
def test_extreme_styles_and_grey_values_stay_finite(likelihood: str) -> None:
    styles = torch.tensor([-200.0, 200.0]).view(1, 1, 2, 1, 1).repeat(1, 2, 1, 1, 3).clone()
    styles[:, 1, 0] = 200.0
    styles.requires_grad_()
    image = torch.tensor([-5.0, 0.0, 5.0]).view(1, 1, 1, 3)
    found = elbo.log_appearance(image, styles, likelihood)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert styles.grad is not None
    assert torch.isfinite(styles.grad).all()


def test_the_mixture_is_the_sum_over_all_label_images() -> None:
    """Three pixels of four classes: 64 label images, summed one by one (Eq. 9)."""
    log_joint = torch.randn(1, 4, 1, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    total = 0.0
    for labels in itertools.product(range(4), repeat=3):
        total += math.exp(sum(log_joint[0, c, 0, n].item() for n, c in enumerate(labels)))
    assert elbo.log_mixture(log_joint).sum().item() == pytest.approx(math.log(total), rel=1e-12)
    mask = torch.zeros_like(log_joint)
    mask[0, 2] = 1.0
    assert torch.equal(elbo.log_known(log_joint, mask)[0, 0], log_joint[0, 2])
    assert (elbo.log_known(log_joint, mask) < elbo.log_mixture(log_joint)).all()


def _family(means: list[float]) -> Inferred:
    """Two levels of one image each of two channels, 2 x 2 and 1 x 1; unit variances, prior means of 0."""
    mean = torch.tensor(means).view(1, 2, 1, 1)
    posteriors = [Gaussian(mean.expand(1, 2, n, n), torch.zeros(1, 2, n, n)) for n in (2, 1)]
    return Inferred([p.mean for p in posteriors], posteriors, [p.standard() for p in posteriors])


def test_divergences_are_summed_per_pixel_and_some_bits_are_free() -> None:
    """Means 0 and 2 against unit normals: 0 and 2 nats each, at 4 + 1 positions, over 16 pixels."""
    found = elbo.divergence(_family([0.0, 2.0]), 16)
    assert found.found.item() == found.asked.item() == pytest.approx(5 * 2 / 16)
    free = elbo.divergence(_family([0.0, 2.0]), 16, free_bits=1.0)
    assert free.found.item() == pytest.approx(5 * 2 / 16)
    assert free.asked.item() == pytest.approx(5 * (2 + math.log(2)) / 16)


def test_styles_that_are_alike_and_segmentations_that_are_the_same_are_seen() -> None:
    labels = torch.full((2, 4, 3, 3), 0.25)
    alike = torch.rand(2, 1, 3, 3).expand(-1, 4, -1, -1).clone()
    assert elbo.apart(alike, labels) == 0.0
    alike[:, 0] = 7.0  # the style of what is outside of the lung does not count
    assert elbo.apart(alike, labels) == 0.0
    alike[:, 2] += 0.3  # one of three differs from the two others
    assert elbo.apart(alike, labels) == pytest.approx(0.2, abs=1e-6)
    assert elbo.variety(labels) == 0.0
    hard = torch.zeros(2, 4, 1, 2)
    hard[0, 0], hard[1, 0, 0, 0], hard[1, 3, 0, 1] = 1.0, 1.0, 1.0  # they differ at one of two pixels
    assert elbo.variety(hard) == pytest.approx(0.25)
