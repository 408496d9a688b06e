"""StitchNet's parts against torch.distributions and hand computation, and the interface of all segmenters."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.build import build_judge, build_segmenter, count_parameters
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.ladder import Gaussian, Ladder, divergence, merged
from PESemiSegLib.networks.mobilenet import MobileNetV2
from PESemiSegLib.networks.outputs import probabilities
from PESemiSegLib.networks.stitchnet import Stitch

TINY = NetworkConfig(width=4, architecture="stitchnet", classes=4)


def _gaussians(seed: int) -> tuple[Gaussian, Gaussian]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 2, 3, 5, 5, generator=generator, dtype=torch.float64)
    return Gaussian(values[0], 2.0 * values[1]), Gaussian(values[2], 2.0 * values[3])


def test_precisions_add_up_as_in_eq_13() -> None:
    """Variances 1/2 and 1: precision 2 + 1 = 3, so variance 1/3 and mean (2 * 4 + 1 * 1) / 3 = 3."""
    found = Gaussian(torch.tensor(4.0), torch.tensor(math.log(0.5)))
    prior = Gaussian(torch.tensor(1.0), torch.tensor(0.0))
    both = merged(found, prior)
    assert both.mean.item() == pytest.approx(3.0)
    assert both.log_variance.exp().item() == pytest.approx(1 / 3)
    found, prior = _gaussians(0)
    both, other = merged(found, prior), merged(prior, found)
    precisions = (-found.log_variance).exp(), (-prior.log_variance).exp()
    expected = (found.mean * precisions[0] + prior.mean * precisions[1]) / sum(precisions)
    torch.testing.assert_close(both.mean, expected)
    torch.testing.assert_close(both.log_variance.exp(), 1 / sum(precisions))
    torch.testing.assert_close(both.mean, other.mean)


def test_the_divergence_is_that_of_torch() -> None:
    pair = _gaussians(1)
    normals = [Normal(g.mean, (0.5 * g.log_variance).exp()) for g in pair]
    torch.testing.assert_close(divergence(*pair), kl_divergence(*normals))
    assert divergence(pair[0], pair[0]).abs().max() == 0


def test_draws_have_the_mean_and_variance_and_let_gradients_through() -> None:
    mean, log_variance = torch.full((40_000,), 2.0).requires_grad_(), torch.full((40_000,), math.log(0.25))
    values = Gaussian(mean, log_variance).sample(torch.Generator().manual_seed(0))
    assert values.mean().item() == pytest.approx(2.0, abs=0.01)
    assert values.std().item() == pytest.approx(0.5, abs=0.01)
    values.sum().backward()
    assert mean.grad is not None
    assert mean.grad.min() == 1.0


def test_a_ladder_goes_from_the_coarsest_level_down() -> None:
    """z_5's prior is N(0, I); the prior of each finer level moves with its parent, and with nothing else."""
    torch.manual_seed(0)
    ladder = Ladder((3, 4, 5), channels=4, latents=2).eval()
    maps = [torch.randn(1, c, 16 >> n, 16 >> n) for n, c in enumerate((3, 4, 5))]
    with torch.no_grad():
        inferred = ladder(maps)
        assert [tuple(z.shape) for z in inferred.latents] == [(1, 2, 16, 16), (1, 2, 8, 8), (1, 2, 4, 4)]
        assert inferred.priors[-1].mean.abs().max() == inferred.priors[-1].log_variance.abs().max() == 0
        assert all(torch.equal(z, p.mean) for z, p in zip(inferred.latents, inferred.posteriors, strict=True))
        fine_changed = ladder([maps[0] + 1.0, *maps[1:]])
        coarse_changed = ladder([*maps[:2], maps[2] + 1.0])
    assert torch.equal(fine_changed.latents[1], inferred.latents[1])
    assert not torch.equal(fine_changed.latents[0], inferred.latents[0])
    assert torch.equal(fine_changed.priors[0].mean, inferred.priors[0].mean)
    assert not torch.equal(coarse_changed.priors[0].mean, inferred.priors[0].mean)


def test_mobilenet_is_the_published_one() -> None:
    """2,223,872 values before its classifier for RGB; less the last 1x1 (412,160) and two colours (576)."""
    encoder = MobileNetV2(1, 16).eval()
    with torch.no_grad():
        maps = encoder(torch.zeros(1, 1, 64, 96))
    assert count_parameters(encoder) == 2_223_872 - 412_160 - 576
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16, 32, 48), (24, 16, 24), (32, 8, 12), (96, 4, 6), (320, 2, 3)
    ]  # fmt: skip


def test_labels_are_stitched_in_the_order_of_the_kind() -> None:
    """Outside 1/4; inside healthy 1/2, ground glass 1/3, consolidation 1/6, as the report numbers them."""
    stitch = Stitch(NetworkConfig(width=1, architecture="stitchnet", classes=4))
    with torch.no_grad():
        for layer, shares in ((stitch.tissue, [1 / 2, 1 / 3, 1 / 6]), (stitch.lung, [1 / 4, 3 / 4])):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(shares).log())
        labels = stitch(torch.zeros(1, 2, 1, 1)).exp().flatten()
    torch.testing.assert_close(labels, torch.tensor([1 / 4, 1 / 4, 1 / 8, 3 / 8]))


def test_it_is_a_segmenter_as_any_other() -> None:
    config = NetworkConfig.from_dict(TINY.to_dict() | {"context": 3})
    network = build_segmenter(config, seed=0).eval()
    judge = build_judge(DiscriminatorConfig(channels=(4,)), config, seed=1)
    image = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, features = network.forward_features(image)
        again = network(image)
        explained = network.explain(image)
    assert logits.shape == (2, 4, 48, 80)
    assert features.shape == (2, config.feature_channels, 48, 80)
    assert torch.equal(logits, again)
    torch.testing.assert_close(logits.exp(), probabilities(logits))
    torch.testing.assert_close(network.head(features), logits)
    torch.testing.assert_close(explained.logits, logits)
    torch.testing.assert_close(explained.features, features)
    assert explained.pictures.shape == (2, 4, 48, 80)
    assert explained.pictures.abs().max() <= 1
    assert judge(probabilities(logits), features).shape == (2, 1, 48, 80)
    with pytest.raises(ValueError, match="multiples of 16"):
        network(torch.zeros(1, 3, 40, 48))


def test_latents_are_drawn_where_a_generator_is_given_and_then_alone() -> None:
    network = build_segmenter(TINY, seed=0).eval()
    image = torch.zeros(1, 1, 32, 32)
    with torch.no_grad():
        draws = [network.explain(image, torch.Generator().manual_seed(s)).logits for s in (1, 1, 2)]
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])
        both = network.explain(image.expand(3, -1, -1, -1), torch.Generator().manual_seed(1))
    part = both.of(slice(1, None))
    assert torch.equal(part.logits, both.logits[1:])
    assert all(map(torch.equal, part.k.divergences(), (d[1:] for d in both.k.divergences())))


def test_every_parameter_is_reached_and_labels_of_tissue_come_from_k_alone() -> None:
    network = build_segmenter(TINY, seed=0)
    image = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    found = network.explain(image, torch.Generator().manual_seed(1))
    total = sum(d.sum() for family in (found.z, found.k) for d in family.divergences())
    (found.logits.square().sum() + found.styles.square().sum() + total).backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    # A bias in front of a batch norm is taken out again by it.
    assert [name for name in idle if not name.endswith("bias")] == []
    network.zero_grad()
    network.tissue(network.infer(image)[1].latents).sum().backward()
    assert all(value.grad is None for value in network.style_encoder.parameters())


def test_what_is_told_is_float32_where_convolutions_are_not() -> None:
    network, image = build_segmenter(TINY, seed=0).eval(), torch.zeros(1, 1, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network.explain(image, torch.Generator().manual_seed(0))
        read = network.forward_features(image)
    told = (found.logits, found.features, found.styles, *found.z.latents, *read)
    assert {value.dtype for value in told} == {torch.float32}


def test_two_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="stitchnet"):
        NetworkConfig(architecture="stitchnet", classes=2)
