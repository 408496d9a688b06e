"""The segmenter has the published sizes, keeps shapes and resolutions, and learns everywhere."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from PESemiSegLib.networks.blocks import BasicBlock, Bottleneck
from PESemiSegLib.networks.build import (
    build_segmenter,
    count_parameters,
)
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.networks.hrnet import HRModule


def full(width: int, **options) -> NetworkConfig:
    return NetworkConfig(width=width, depth="full", **{"upsample": "bilinear", **options})


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (full(18), 2_738_261),
        (full(18, stage4=True), 9_598_097),
        (full(32), 7_845_825),
        (full(32, stage4=True), 29_499_713),
        (full(48), 17_112_641),
        (full(48, stage4=True), 65_808_257),
        (full(48, upsample="carafe"), 17_420_329),
        (full(48, stem="quarter"), 17_112_641 + 36_992),
        (full(48, context=5), 17_112_641 + 4 * 9 * 64),
        (NetworkConfig(width=16, depth="small"), 1_101_545),
    ],
)
def test_parameter_counts_of_the_paper(config, parameters):
    with torch.device("meta"):
        assert count_parameters(build_segmenter(config)) == parameters


def test_parameter_counts_by_part_of_the_published_width():
    with torch.device("meta"):
        network = build_segmenter(full(48, upsample="carafe"))
    parts = {name: count_parameters(child) for name, child in network.named_children()}
    assert parts["stem"] == 704
    assert parts["layer1"] == 286_208
    assert parts["transition1"] == 332_064
    assert parts["transitions"] == 166_272
    assert parts["head"] == 114_241
    assert [count_parameters(stage) for stage in network.stages] == [878_112, 15_335_040]
    assert [count_parameters(layer) for layer in network.upsamplers] == [64_072, 243_616]


def test_head_norm_has_the_usual_epsilon():
    """The reference code puts 0.1 there by a slip of argument order (1A.1)."""
    assert build_segmenter(NetworkConfig(width=2)).head[1].eps == 1e-5


@pytest.mark.parametrize("stem", ["half", "quarter"])
@pytest.mark.parametrize("stage4", [False, True])
@pytest.mark.parametrize("upsample", ["carafe", "bilinear"])
def test_every_row_of_table_1_keeps_the_image_size(stem, stage4, upsample):
    config = NetworkConfig(width=2, stem=stem, stage4=stage4, upsample=upsample, context=3, carafe_mid=4)
    network = build_segmenter(config, seed=0).eval()
    with torch.no_grad():
        logits, features = network.forward_features(torch.zeros(2, 3, 48, 80))
    stride = config.feature_stride
    assert logits.shape == (2, 1, 48, 80)
    assert features.shape == (2, 2 * (15 if stage4 else 7), 48 // stride, 80 // stride)
    assert features.shape[1] == config.feature_channels


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 6), columns=st.integers(1, 6), batch=st.integers(1, 3))
def test_any_multiple_of_16_is_taken(rows, columns, batch):
    network = build_segmenter(NetworkConfig(width=2, carafe_mid=2), seed=0).eval()
    with torch.no_grad():
        logits, features = network.forward_features(torch.zeros(batch, 1, 16 * rows, 16 * columns))
    assert logits.shape == (batch, 1, 16 * rows, 16 * columns)
    assert features.shape == (batch, 14, 8 * rows, 8 * columns)


@pytest.mark.parametrize("shape", [(40, 48), (48, 24)])
def test_other_sizes_are_refused_in_words(shape):
    with pytest.raises(ValueError, match="multiples of 16"):
        build_segmenter(NetworkConfig(width=2))(torch.zeros(1, 1, *shape))


def test_branches_have_the_published_resolutions():
    network = build_segmenter(NetworkConfig(width=3, stage4=True, carafe_mid=2)).eval()
    with torch.no_grad():
        maps = network.encode(torch.zeros(1, 1, 400, 400))
    assert [tuple(x.shape[1:]) for x in maps] == [(3, 200, 200), (6, 100, 100), (12, 50, 50), (24, 25, 25)]


def test_slices_of_a_batch_do_not_see_each_other():
    network = build_segmenter(NetworkConfig(width=4, carafe_mid=4), seed=1).eval()
    images = torch.randn(3, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, apart, atol=1e-5)


@pytest.mark.parametrize("upsample", ["carafe", "bilinear"])
def test_the_output_follows_the_image_where_it_is_shifted(upsample):
    """No flip, transposition or misplaced resolution: a shift by the coarsest stride shifts the logits."""
    network = build_segmenter(NetworkConfig(width=4, upsample=upsample, carafe_mid=4), seed=2).double().eval()
    image = torch.zeros(1, 1, 160, 160, dtype=torch.float64)
    image[..., 72:88, 64:96] = torch.randn(16, 32, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        background = network(torch.zeros_like(image))
        here = network(image) - background
        shifted = network(image.roll((16, -8), (2, 3))) - background
    reach = (slice(None), slice(None), slice(48, 112), slice(48, 112))
    expected = here.roll((16, -8), (2, 3))
    assert here[reach].abs().max() > 1e-6
    assert torch.allclose(shifted[reach], expected[reach], atol=1e-9 + 1e-3 * float(here.abs().max()))


def test_every_parameter_gets_a_gradient():
    network = build_segmenter(NetworkConfig(width=4, stage4=True, carafe_mid=4), seed=0)
    image = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network(image).square().sum().backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


def test_fresh_logits_are_near_that_of_a_rare_mark():
    network = build_segmenter(NetworkConfig(), seed=0)
    image = torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    with torch.no_grad():
        assert (network(image) + math.log(99)).abs().max() < 1.5


def test_one_seed_gives_one_network_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = (build_segmenter(NetworkConfig(width=2), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_returns_float32(dtype):
    network = build_segmenter(NetworkConfig(width=4, carafe_mid=4), seed=0).eval()
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", dtype):
            logits, features = network.forward_features(image)
    assert logits.dtype == features.dtype == torch.float32
    assert torch.allclose(logits, exact, atol=0.05 * float(exact.abs().max()) + 0.01)


def test_fewer_stages_and_smaller_depth_are_really_smaller():
    sizes = {
        (depth, stage4): count_parameters(build_segmenter(NetworkConfig(width=4, depth=depth, stage4=stage4)))
        for depth, stage4 in itertools.product(("small", "full"), (False, True))
    }
    assert sizes["small", False] < sizes["full", False]
    assert sizes["small", True] < sizes["full", True]
    assert sizes["full", False] < sizes["full", True]


def test_fusion_equals_a_hand_made_sum():
    """Three branches of known constants through identity-like weights: sum over sources, then ReLU (1A.1)."""
    module = HRModule([1, 2, 4], blocks=1).double().eval()
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 2**i, 16 // 2**i, 16 // 2**i, generator=generator).double() for i in range(3)]
    with torch.no_grad():
        after = [branch(x) for branch, x in zip(module.branches, maps, strict=True)]
        fused = module(maps)
        raised = F.interpolate(module.fuse[1][2](after[2]), size=(8, 8), mode="bilinear")
        expected = F.relu(module.fuse[1][0](after[0]) + after[1] + raised)
        assert torch.allclose(fused[1], expected, atol=1e-12)
        twice = module.fuse[2][0]
        halved = F.relu(twice[0][1](F.conv2d(after[0], twice[0][0].weight, stride=2, padding=1)))
        coarse = twice[1][1](F.conv2d(halved, twice[1][0].weight, stride=2, padding=1))
        expected = F.relu(coarse + module.fuse[2][1](after[1]) + after[2])
        assert torch.allclose(fused[2], expected, atol=1e-12)
    assert all((x >= 0).all() for x in fused)


def test_blocks_add_their_input():
    """With the last norm of the body at zero, only the shortcut is left."""
    x = torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    for block in (BasicBlock(256), Bottleneck(256, 64)):
        torch.nn.init.zeros_(block.body[-1][1].weight)
        assert torch.equal(block.eval()(x), F.relu(x))
