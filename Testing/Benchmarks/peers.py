"""An nnU-Net-like 3D U-Net on the same volume: one patch measured, the sliding window counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openvino
import torch
from measuring import convolution_flop, interleaved, medians
from monai.networks.nets import DynUNet
from subjects import OpenVino, eager

PATCH = 128
STEP = 0.5


def nnunet_like() -> torch.nn.Module:
    """Six stages of 32 to 320 channels, instance norm: nnU-Net's default for large patches, about 31 M."""
    torch.manual_seed(0)
    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        kernel_size=[3] * 6,
        strides=[1, 2, 2, 2, 2, 2],
        upsample_kernel_size=[2] * 5,
        filters=[32, 64, 128, 256, 320, 320],
        norm_name=("INSTANCE", {"affine": True}),
    ).eval()


def patches(shape: list[int] | tuple[int, ...]) -> int:
    """Patches of a sliding window over (z, y, x) with half a patch of step, as nnU-Net counts them."""
    return math.prod(math.ceil(max(0, size - PATCH) / (PATCH * STEP)) + 1 for size in shape)


def measure(shape: list[int], box: list[int], rounds: int) -> dict[str, Any]:
    """CPU seconds of one thread per patch, and for the whole volume and for the lung box."""
    network = nnunet_like()
    block = np.random.default_rng(0).standard_normal((1, 1, PATCH, PATCH, PATCH), dtype=np.float32)
    graph = openvino.convert_model(network, example_input=torch.from_numpy(block))
    subjects = {
        "eager": eager(network, block),
        "openvino": OpenVino(graph, block.shape, "f32").subject(block),
    }
    flop = convolution_flop(network, subjects["eager"])
    seconds = medians(interleaved(subjects, rounds))
    whole, boxed = patches(shape), patches(box)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gflop_per_patch": flop / 1e9,
        "seconds_per_patch": seconds,
        "patches_whole": whole,
        "patches_box": boxed,
        "eager_whole_seconds": whole * seconds["eager"],
        "openvino_box_seconds": boxed * seconds["openvino"],
    }
