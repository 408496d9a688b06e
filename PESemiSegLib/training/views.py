"""Views of a crop: strong changes of grey values, pasted boxes, another site's low frequencies; on tensors.

Images are (B, context, H, W) in [-1, 1]. The weak view is the crop as it was drawn (turned, scaled, lightly
changed in HU). Nothing here moves a pixel, so a label of the weak view holds for the strong one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.training.settings import StrongConfig

_SOFT_TISSUE_HU = 40.0


def strong(
    image: Tensor, config: StrongConfig, hu_window: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Contrast about soft tissue, shift, blur and white noise, drawn per crop, alike for its slices."""
    low, high = hu_window
    unit = 2.0 / (high - low)  # of the normalised image, per HU
    soft = (_SOFT_TISSUE_HU - low) * unit - 1.0
    count = len(image)

    def draw() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator, device=image.device)

    on = (draw() < config.probability).to(image.dtype)
    gain = 1.0 + on * config.contrast * (2.0 * draw() - 1.0)
    shift = on * config.shift_hu * unit * (2.0 * draw() - 1.0)
    changed = (image - soft) * gain + soft + shift
    sigma = config.blur_pixels * draw().flatten() * (draw().flatten() < config.blur_probability)
    changed = blur(changed, sigma, reach=max(1, round(2 * config.blur_pixels)))
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    changed = changed + noise * (config.noise_hu * unit * draw())
    return changed.clamp(-1.0, 1.0).contiguous(memory_format=torch.channels_last)


def blur(image: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Gaussian blur with a sigma (pixels) per crop, (B,); 0 leaves the crop as it is, edges are repeated."""
    count, channels = image.shape[:2]
    steps = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(image.reshape(1, count * channels, *image.shape[2:]), (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, :, None, :], groups=count * channels)
    flat = F.conv2d(flat, kernel[:, :, :, None], groups=count * channels)
    return flat.reshape(image.shape)


def boxes(like: Tensor, side: float, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W): 1 in one box per crop, whose sides are `side` of the crop's; it lies anywhere inside."""
    height, width = like.shape[-2:]
    sizes = torch.tensor([round(side * height), round(side * width)], device=like.device)
    room = torch.tensor([height, width], device=like.device) - sizes
    draws = torch.rand(len(like), 2, generator=generator, device=like.device)
    return _filled(like, (draws * (room + 1)).floor(), sizes.expand(len(like), 2))


def cutmix_boxes(like: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """CutMix as in UniMatch: with `probability` a box of 2 to 40 % of the area, aspect 0.3 to 3.3."""
    height, width = like.shape[-2:]
    edge = torch.tensor([height, width], device=like.device, dtype=torch.float32)

    def draw() -> Tensor:
        return torch.rand(len(like), generator=generator, device=like.device)

    area = (0.02 + 0.38 * draw()) * (draw() < probability)
    aspect = 0.3 * (1 / 0.09) ** draw()  # even in the logarithm
    share = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp_max(1.0)
    sizes = (share * edge).round()
    draws = torch.stack([draw(), draw()], 1)
    return _filled(like, (draws * (edge - sizes + 1)).floor(), sizes)


def _filled(like: Tensor, corner: Tensor, sizes: Tensor) -> Tensor:
    """Masks with ones from `corner` (y, x), `sizes` pixels far; all (B, 2)."""
    inside = []
    for axis, length in enumerate(like.shape[-2:]):
        place = torch.arange(length, device=like.device)[None]
        start = corner[:, axis, None]
        inside.append((place >= start) & (place < start + sizes[:, axis, None]))
    return (inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(like.dtype)


def pasted(inside: Tensor, outside: Tensor, box: Tensor) -> Tensor:
    """The one within the box, the other around it."""
    return torch.where(box > 0, inside, outside)


def amplitude_mixed(image: Tensor, style: Tensor, share: Tensor, band: float) -> Tensor:
    """The image with `share` (B, 1, 1, 1) of another's low-frequency amplitudes; its own phases.

    band: half side of the central square of the spectrum, as a share of the crop (Fourier domain adaptation,
    Yang 2020; mixed rather than swapped as by Xu 2021 and MiDSS).
    """
    height, width = image.shape[-2:]
    spectrum, other = torch.fft.fft2(image), torch.fft.fft2(style)
    rows = torch.fft.fftfreq(height, device=image.device).abs() <= max(band, 1.0 / height)
    columns = torch.fft.fftfreq(width, device=image.device).abs() <= max(band, 1.0 / width)
    share = share * (rows[:, None] & columns[None]).to(image.dtype)
    amplitude = (1.0 - share) * spectrum.abs() + share * other.abs()
    mixed = torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real
    return mixed.clamp(-1.0, 1.0).contiguous(memory_format=torch.channels_last)
