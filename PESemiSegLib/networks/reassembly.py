"""CARAFE's reassembly, the weighted sum over each source neighbourhood: one meaning, several forms.

Every form computes, for output pixel p, its source pixel q = floor(p / scale) and the k x k neighbours of q
(zero outside the image), the sum of neighbour times kernel value (Wang et al., CARAFE, ICCV 2019, Eq. 2).

They differ in memory and speed only. The direct unfolding at high resolution needs k^2 copies of the output;
the forms here loop over the k^2 taps at LOW resolution, where the scale^2 output pixels of one source pixel
("phases") share their neighbours, and shuffle the phases into place at the end.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Form = Literal["auto", "inplace", "autograd", "sum", "naive"]


def reassemble(x: Tensor, kernels: Tensor, scale: int, form: Form = "auto") -> Tensor:
    """Upsample `x` by `scale` with one kernel per output pixel.

    Args:
        x: map to enlarge, (B, C, h, w).
        kernels: (B, k*k, scale*scale, h, w), tap-major, then phase (row-major within the output block).
        scale: integer factor.
        form: "auto" takes "sum" while exporting or compiling, "autograd" where a gradient is wanted and
            "inplace" otherwise; "naive" is the definition written down, for tests and the benchmark.

    Returns:
        (B, C, scale*h, scale*w) in the dtype of `x`; half-precision inputs are accumulated in float32.
    """
    if form == "auto":
        form = _choose(x, kernels)
    wide = torch.promote_types(torch.promote_types(x.dtype, kernels.dtype), torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        values, weights = x.to(wide).contiguous(), kernels.to(wide)
        if form == "naive":
            return _naive(values, weights, scale).to(x.dtype)
        if form == "autograd":
            phases: Tensor = _Reassemble.apply(values, weights)
        else:
            phases = _taps_in_place(values, weights) if form == "inplace" else _taps_summed(values, weights)
        return F.pixel_shuffle(phases.flatten(1, 2), scale).to(x.dtype)


def _choose(x: Tensor, kernels: Tensor) -> Form:
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "sum"
    if torch.is_grad_enabled() and (x.requires_grad or kernels.requires_grad):
        return "autograd"
    return "inplace"


def _side(kernels: Tensor) -> int:
    return math.isqrt(int(kernels.shape[1]))


def _shifted(padded: Tensor, tap: int, side: int) -> Tensor:
    """View of the padded map at one tap's offset, (B, C, h, w); ends counted from the back, for exporters."""
    row, column = divmod(tap, side)
    return padded[..., row : (row - side + 1) or None, column : (column - side + 1) or None]


def _pad(x: Tensor, side: int) -> Tensor:
    margin = side // 2
    return F.pad(x, (margin, margin, margin, margin))


def _taps_in_place(x: Tensor, kernels: Tensor) -> Tensor:
    """Accumulate all taps into one buffer: (B, C, s^2, h, w). Least memory; not differentiable."""
    side = _side(kernels)
    padded = _pad(x, side)
    out = x.new_zeros((*x.shape[:2], *kernels.shape[2:]))
    for tap in range(side * side):
        out.addcmul_(_shifted(padded, tap, side).unsqueeze(2), kernels[:, tap].unsqueeze(1))
    return out


def _taps_summed(x: Tensor, kernels: Tensor) -> Tensor:
    """The same as a plain sum, which exporters keep and compilers fuse into one kernel."""
    side = _side(kernels)
    padded = _pad(x, side).unsqueeze(2)
    by_phase = kernels.transpose(1, 2).unsqueeze(
        1
    )  # (B, 1, s^2, k^2, h, w): spares the CPU engine layout changes
    out = _shifted(padded, 0, side) * by_phase[:, :, :, 0]
    for tap in range(1, side * side):
        out = out + _shifted(padded, tap, side) * by_phase[:, :, :, tap]
    return out


class _Reassemble(torch.autograd.Function):
    """The in-place form with a hand-written gradient: only the two inputs are kept for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernels)
        return _taps_in_place(x, kernels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernels = ctx.saved_tensors
        want_x, want_kernels = ctx.needs_input_grad
        side = _side(kernels)
        padded = _pad(x, side)
        grad_padded = torch.zeros_like(padded) if want_x else None
        grad_kernels = torch.empty_like(kernels) if want_kernels else None
        for phase in range(kernels.shape[2]):  # one phase at a time keeps the temporaries at low resolution
            grad_phase = grad[:, :, phase].contiguous()
            for tap in range(side * side):
                if grad_padded is not None:
                    target = _shifted(grad_padded, tap, side)
                    target.addcmul_(grad_phase, kernels[:, tap, phase].unsqueeze(1))
                if grad_kernels is not None:
                    neighbour = _shifted(padded, tap, side)
                    torch.sum(neighbour * grad_phase, dim=1, out=grad_kernels[:, tap, phase])
        if grad_padded is None:
            return None, grad_kernels
        return _shifted(grad_padded, side * side // 2, side), grad_kernels


def _naive(x: Tensor, kernels: Tensor, scale: int) -> Tensor:
    """CARAFE as it is usually written: unfold the nearest-enlarged map, contract with shuffled kernels."""
    side = _side(kernels)
    weights = F.pixel_shuffle(kernels.flatten(1, 2), scale)  # (B, k^2, H, W)
    enlarged = F.interpolate(x, scale_factor=scale, mode="nearest")
    columns = F.unfold(enlarged, side, dilation=scale, padding=side // 2 * scale)
    columns = columns.view(x.shape[0], x.shape[1], side * side, *enlarged.shape[-2:])
    return torch.einsum("bkhw,bckhw->bchw", weights, columns)
