"""Owns the choice of engine, device and precision: what was asked for, or an error that says why not."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.errors import ConfigError, DeviceError
from PESemiSegLib.inference.engines.base import Engine

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ENGINES = ("auto", "openvino", "torch")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class Choice:
    """What will run, and why: `reason` is one sentence for the log."""

    engine: str
    device: str
    precision: str
    reason: str


def choose(device: str = "auto", precision: str = "auto", engine: str = "auto") -> Choice:
    """Decide what runs.

    "auto" prefers a usable CUDA device, then OpenVINO on the CPU, then torch on the CPU; and bf16 wherever
    the hardware computes in it (fp16 on older CUDA devices), else fp32.

    Raises:
        ConfigError: a value that does not exist.
        DeviceError: what was asked for by name cannot be used; the message says why. Never a silent change.
    """
    if not _DEVICE.fullmatch(device):
        raise ConfigError(f"device {device!r} is unknown; choose auto, cpu, cuda or cuda:N")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is unknown; choose {', '.join(PRECISIONS)}")
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is unknown; choose {', '.join(ENGINES)}")
    where, why = _device(device, engine)
    what = _engine(where, engine)
    how = _precision(where, precision, what)
    return Choice(what, where, how, f"{what} on {where} in {how} ({why})")


def open_engine(
    choice: Choice,
    package: ModelPackage,
    input_shape: tuple[int, ...],
    *,
    batch: int | None = None,
    threads: int | None = None,
    judge: bool = True,
) -> Engine:
    """Load `package` for slices of `input_shape` (C, H, W), or windows (C, z, y, x).

    `threads` defaults to `cpu_threads()`. judge: False leaves the discriminator out.
    """
    if choice.engine == "openvino":
        from PESemiSegLib.inference.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(
            package, input_shape, precision=choice.precision, threads=threads or cpu_threads(), judge=judge
        )
    from PESemiSegLib.inference.engines.torch_engine import TorchEngine

    return TorchEngine(
        package,
        device=choice.device,
        precision=choice.precision,
        batch=batch or 0,
        threads=threads or 0,
        judge=judge,
    )


def cpu_threads() -> int:
    """CPU threads to use: OMP_NUM_THREADS where it is set, else the cores this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(device: str, engine: str) -> tuple[str, str]:
    """The device's plain name and why it was taken."""
    if device.startswith("cuda"):
        name = device if ":" in device else "cuda:0"
        if engine == "openvino":
            raise DeviceError(f"OpenVINO does not run on {device}; use --engine torch or --device cpu")
        if trouble := _cuda_trouble(name):
            raise DeviceError(f"{device} cannot be used: {trouble}; use --device cpu")
        return name, "as asked"
    if device == "cpu":
        return "cpu", "as asked"
    if engine == "openvino":
        return "cpu", "OpenVINO runs on the CPU"
    trouble = _cuda_trouble("cuda:0")
    return ("cpu", f"no CUDA: {trouble}") if trouble else ("cuda:0", "a CUDA device is there")


def _engine(where: str, engine: str) -> str:
    if where.startswith("cuda"):
        return "torch"
    if engine == "auto":
        engine = "openvino" if _installed("openvino") or not _installed("torch") else "torch"
    if not _installed(engine):
        extra = "pip install openvino" if engine == "openvino" else 'pip install "pesemiseg[train]"'
        raise DeviceError(f"the {engine} engine is not installed; {extra}")
    return engine


def _precision(where: str, precision: str, engine: str) -> str:
    on_cuda = where.startswith("cuda")
    if precision == "fp16" and not on_cuda:
        raise DeviceError("fp16 is for CUDA devices; use --precision bf16 or fp32 on a CPU")
    if precision in ("auto", "bf16") and not has_bf16(where, engine):
        if precision == "auto":
            return "fp16" if on_cuda else "fp32"
        if on_cuda:
            raise DeviceError(f"{where} does not compute in bfloat16; use --precision fp16 or fp32")
        raise DeviceError(
            "this CPU has no bfloat16 instructions (avx512_bf16 or amx_bf16); use --precision fp32"
        )
    return "bf16" if precision == "auto" else precision


def has_bf16(where: str, engine: str) -> bool:
    """Whether a usable device ("cpu", "cuda", "cuda:N") computes in bfloat16 under this engine."""
    if where.startswith("cuda"):
        from PESemiSegLib.inference.engines.torch_engine import cuda_has_bf16

        return cuda_has_bf16(where)
    return cpu_has_bf16(engine)


def cpu_has_bf16(engine: str = "openvino", cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU computes in bfloat16: what OpenVINO says, else the kernel's list of flags."""
    if engine == "openvino":
        import openvino as ov

        return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    try:
        flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def _cuda_trouble(device: str) -> str | None:
    """Why a CUDA device cannot be used; cheap questions first, since torch takes seconds to import."""
    if not _installed("torch"):
        return "torch is not installed"
    if not _has_nvidia_driver():
        return "there is no NVIDIA driver"
    try:
        from PESemiSegLib.inference.engines.torch_engine import cuda_trouble
    except Exception as error:  # half a torch, or no safetensors
        return f"the torch engine does not start: {' '.join(str(error).split()) or type(error).__name__}"
    return cuda_trouble(device)


def _has_nvidia_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
