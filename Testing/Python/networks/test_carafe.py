"""CARAFE: all forms equal one independent float64 reference; gradients and special cases are right."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from PESemiSegLib.networks.carafe import CARAFE
from PESemiSegLib.networks.reassembly import reassemble

FORMS = ["inplace", "autograd", "sum", "naive"]


def reference(x: np.ndarray, kernels: np.ndarray, scale: int) -> np.ndarray:
    """The definition, pixel by pixel in float64: shares nothing with the implementation."""
    batch, channels, height, width = x.shape
    side = math.isqrt(kernels.shape[1])
    out = np.zeros((batch, channels, height * scale, width * scale))
    for row, column in np.ndindex(height * scale, width * scale):
        source_row, phase_row = divmod(row, scale)
        source_column, phase_column = divmod(column, scale)
        kernel = kernels[:, :, phase_row * scale + phase_column, source_row, source_column]
        for tap in range(side * side):
            at_row, at_column = source_row + tap // side - side // 2, source_column + tap % side - side // 2
            if 0 <= at_row < height and 0 <= at_column < width:
                out[:, :, row, column] += kernel[:, tap, None] * x[:, :, at_row, at_column]
    return out


def random_case(batch, channels, height, width, scale, side=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    kernels = torch.randn(batch, side**2, scale**2, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype), kernels.softmax(1).to(dtype)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    scale=st.sampled_from([2, 3, 4]),
    side=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 1000),
)
def test_each_form_equals_the_definition(form, batch, channels, height, width, scale, side, seed):
    x, kernels = random_case(batch, channels, height, width, scale, side, seed)
    expected = reference(x.numpy(), kernels.numpy(), scale)
    np.testing.assert_allclose(reassemble(x, kernels, scale, form).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("channels", "size", "scale"), [(32, 100, 2), (64, 50, 4), (16, 25, 8)])
def test_float32_stays_within_1e_6_at_real_sizes(channels, size, scale):
    x, kernels = random_case(1, channels, size, size, scale)
    exact = reassemble(x, kernels, scale, "inplace")
    for form in FORMS:
        got = reassemble(x.float(), kernels.float(), scale, form)
        assert got.dtype == torch.float32
        assert float((got.double() - exact).abs().max()) < 1e-6, form


@pytest.mark.parametrize(("scale", "side"), [(2, 5), (3, 3)])
def test_hand_written_gradient_passes_gradcheck(scale, side):
    x, kernels = random_case(1, 2, 2, 3, scale, side)
    x.requires_grad_()
    kernels.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: reassemble(a, b, scale, "autograd"), (x, kernels))


def test_layer_passes_gradcheck():
    layer = CARAFE(3, 2, mid=4).double().eval()
    layer.reset_parameters()
    x = torch.randn(1, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))


@pytest.mark.parametrize("form", ["autograd", "sum"])
def test_gradients_equal_those_of_the_naive_form(form):
    x, kernels = random_case(2, 5, 9, 8, 4, seed=3)
    weight = torch.randn(2, 5, 36, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gradients = {}
    for name in ("naive", form):
        inputs = (x.clone().requires_grad_(), kernels.clone().requires_grad_())
        gradients[name] = torch.autograd.grad((reassemble(*inputs, 4, name) * weight).sum(), inputs)
    for got, expected in zip(gradients[form], gradients["naive"], strict=True):
        assert torch.allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("wanted", [0, 1])
def test_only_the_gradients_asked_for_are_made(wanted):
    x, kernels = random_case(1, 2, 4, 4, 2)
    inputs = [x, kernels]
    inputs[wanted].requires_grad_()
    reassemble(*inputs, 2).sum().backward()
    assert inputs[wanted].grad is not None
    assert inputs[1 - wanted].grad is None


@pytest.mark.parametrize("form", FORMS)
def test_uniform_kernels_are_a_box_mean(form):
    x, _ = random_case(1, 3, 6, 7, 2)
    kernels = torch.full((1, 25, 4, 6, 7), 1 / 25, dtype=torch.float64)
    expected = F.interpolate(F.avg_pool2d(x, 5, stride=1, padding=2), scale_factor=2, mode="nearest")
    assert torch.allclose(reassemble(x, kernels, 2, form), expected, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [2, 4])
def test_central_delta_kernels_are_nearest_enlargement(form, scale):
    x, _ = random_case(2, 3, 5, 6, scale)
    kernels = torch.zeros(2, 25, scale**2, 5, 6, dtype=torch.float64)
    kernels[:, 12] = 1
    expected = F.interpolate(x, scale_factor=scale, mode="nearest")
    assert torch.equal(reassemble(x, kernels, scale, form), expected)


def test_predicted_kernels_sum_to_one():
    layer = CARAFE(6, 4, mid=8)
    kernels = layer.kernels(torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0)))
    assert kernels.shape == (2, 25, 16, 5, 7)
    assert torch.allclose(kernels.sum(1), torch.ones(2, 16, 5, 7), atol=1e-6)
    assert (kernels >= 0).all()


def test_fresh_layer_is_close_to_a_mean_even_in_training_mode():
    """Batch norm would scale small weights back to unit variance: its gain has to be small as well."""
    layer = CARAFE(8, 2).train()
    layer.reset_parameters()
    kernels = layer.kernels(torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert float((kernels.detach() - 1 / 25).abs().mean()) < 0.15 / 25


def test_form_is_chosen_by_need(monkeypatch):
    from PESemiSegLib.networks import reassembly

    x, kernels = random_case(1, 1, 2, 2, 2)
    assert reassembly._choose(x, kernels) == "inplace"
    assert reassembly._choose(x.requires_grad_(), kernels) == "autograd"
    with torch.no_grad():
        assert reassembly._choose(x, kernels) == "inplace"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert reassembly._choose(x, kernels) == "sum"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(dtype):
    x, kernels = random_case(1, 4, 8, 8, 2)
    half = x.to(dtype)
    exact = reassemble(half.double(), kernels, 2, "naive")
    got = reassemble(half, kernels.float(), 2)
    assert got.dtype == dtype
    assert torch.equal(got, exact.float().to(dtype))


def test_autocast_trains_with_finite_gradients():
    layer = CARAFE(4, 2, mid=8)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *layer.parameters()))


def test_channels_last_input_gives_the_same():
    x, kernels = random_case(2, 4, 6, 6, 2)
    assert torch.equal(
        reassemble(x.to(memory_format=torch.channels_last), kernels, 2), reassemble(x, kernels, 2)
    )


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="odd"):
        CARAFE(4, 2, k_up=4)
