"""Views: ranges, places that stay put, boxes of the asked size, one site's amplitudes on another's phases."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from PESemiSegLib.training.settings import StrongConfig
from PESemiSegLib.training.views import amplitude_mixed, blur, boxes, cutmix_boxes, pasted, strong

WINDOW = (-160.0, 240.0)
STILL = StrongConfig(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _image(seed: int = 1) -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=_draw(seed)) * 2 - 1


def test_the_strong_view_stays_in_range_and_repeats_with_its_seed() -> None:
    image = _image()
    first, second, other = (strong(image, StrongConfig(), WINDOW, _draw(s)) for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == image.shape
    assert -1 <= first.min() <= first.max() <= 1
    assert not torch.equal(first, image)
    torch.testing.assert_close(strong(image, STILL, WINDOW, _draw()), image)


def test_shift_and_contrast_are_in_hu_about_soft_tissue() -> None:
    soft = torch.zeros(64, 1, 4, 4)  # 40 HU, the middle of the window
    contrast = strong(soft, StrongConfig(1.0, 0.0, 0.9, 0.0, 0.0, 0.0), WINDOW, _draw())
    torch.testing.assert_close(contrast, soft)
    shifted = strong(soft, StrongConfig(1.0, 40.0, 0.0, 0.0, 0.0, 0.0), WINDOW, _draw())
    assert 0.17 < shifted.abs().max() <= 0.2  # 40 of 200 HU
    assert shifted.flatten(1).std(1).max() < 1e-6  # one shift per crop


def test_blur_is_scipys_with_its_own_sigma_per_crop() -> None:
    image = _image()[:3].double()
    sigma = torch.tensor([0.0, 0.7, 1.3], dtype=torch.float64)
    found = blur(image, sigma, reach=5).numpy()
    for index, width in enumerate(sigma.tolist()):
        for channel in range(3):
            plane = image[index, channel].numpy()
            expected = ndimage.gaussian_filter(plane, width, mode="nearest", radius=5) if width else plane
            np.testing.assert_allclose(found[index, channel], expected, atol=1e-9)


@pytest.mark.parametrize("side", [0.5, 2 / 3])
def test_boxes_have_the_asked_size_and_lie_inside(side: float) -> None:
    masks = boxes(torch.zeros(200, 1, 32, 48), side, _draw())
    assert set(masks.sum((1, 2, 3)).tolist()) == {float(round(side * 32) * round(side * 48))}
    corners = {tuple(int(v) for v in torch.nonzero(m[0])[0]) for m in masks}
    rows, columns = zip(*corners, strict=True)
    assert (min(rows), max(rows)) == (0, 32 - round(side * 32))
    assert (min(columns), max(columns)) == (0, 48 - round(side * 48))


def test_cutmix_boxes_have_their_share_and_rate() -> None:
    shares = cutmix_boxes(torch.zeros(400, 1, 64, 64), 0.5, _draw()).mean((1, 2, 3))
    there = shares[shares > 0]
    assert 0.4 < len(there) / 400 < 0.6
    assert there.min() > 0.01
    assert there.max() < 0.43
    assert cutmix_boxes(torch.zeros(20, 1, 64, 64), 0.0, _draw()).sum() == 0


def test_pasting_takes_the_inside_from_the_first() -> None:
    box = boxes(torch.zeros(4, 1, 32, 32), 0.5, _draw())
    found = pasted(_image(1), _image(2), box)
    inside = box.expand_as(found) > 0
    assert torch.equal(found[inside], _image(1)[inside])
    assert torch.equal(found[~inside], _image(2)[~inside])


def test_amplitudes_mix_in_the_band_alone_and_phases_stay() -> None:
    image, style = 0.2 * _image(1).double(), 0.2 * _image(2).double()
    none = amplitude_mixed(image, style, torch.zeros(4, 1, 1, 1), 0.1)
    torch.testing.assert_close(none.double(), image, atol=1e-5, rtol=0)
    found = np.fft.fft2(amplitude_mixed(image, style, torch.ones(4, 1, 1, 1), 0.1).double().numpy())
    before, other = np.fft.fft2(image.numpy()), np.fft.fft2(style.numpy())
    frequencies = np.abs(np.fft.fftfreq(32)) <= 0.1
    band = frequencies[:, None] & frequencies[None]
    np.testing.assert_allclose(np.abs(found)[..., band], np.abs(other)[..., band], atol=1e-4)
    np.testing.assert_allclose(found[..., ~band], before[..., ~band], atol=1e-4)
    turned = np.angle(found[..., band] / before[..., band])
    assert np.abs(turned).max() < 1e-3
