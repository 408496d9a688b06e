"""How things are measured: CPU time of one thread, all subjects in turn, medians; FLOP; the machine.

CPU time of one thread is what a quiet core would need and changes little when other programs run; wall time
on a shared machine would measure those other programs.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

Subject = Callable[[], object]


def interleaved(subjects: dict[str, Subject], rounds: int) -> dict[str, list[float]]:
    """Run all subjects once to warm up, then `rounds` times in turn; seconds of CPU time of each run."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for run in subjects.values():
        run()
    for _ in range(rounds):
        for name, run in subjects.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median seconds of each subject."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def spread(seconds: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Fastest and slowest run of each subject."""
    return {name: (min(values), max(values)) for name, values in seconds.items()}


def convolution_flop(network: nn.Module, run: Subject) -> int:
    """Floating-point operations (2 per multiply-add) of all convolutions while `run` uses `network`."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        per_value = layer.weight[0].numel()  # type: ignore[index, operator]
        if isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
            total += 2 * inputs[0].numel() * per_value
        else:
            total += 2 * output.numel() * per_value

    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, kinds)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def convolution_peaks() -> tuple[dict[str, Subject], dict[str, int]]:
    """Subjects that show how fast one core convolves at best, and the FLOP of each."""
    subjects: dict[str, Subject] = {}
    flop: dict[str, int] = {}
    for channels, size in ((64, 200), (128, 100), (256, 50)):
        layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
        image = torch.randn(1, channels, size, size).to(memory_format=torch.channels_last)
        name = f"3x3 convolution {channels}->{channels} at {size}x{size}"
        subjects[name] = _without_gradient(layer, image)
        flop[name] = 2 * channels * channels * 9 * size * size
    return subjects, flop


def _without_gradient(network: nn.Module, image: torch.Tensor) -> Subject:
    def run() -> object:
        with torch.inference_mode():
            return network(image)

    return run


def machine() -> dict[str, object]:
    """What the numbers depend on; no name of the computer or its user."""
    import openvino

    core = openvino.Core()
    flags = _cpu_flags()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    return {
        "cpu": str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        "cores": os.cpu_count(),
        "instructions": [flag for flag in wanted if flag in flags],
        "openvino_precisions": list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        "load_average": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "openvino": openvino.__version__.split("-")[0],
    }


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
