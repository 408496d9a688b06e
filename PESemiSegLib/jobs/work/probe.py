"""The probe job: what this Python and this computer can do, and in words why they cannot do the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PESemiSegLib import __version__
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.files import write_json
from PESemiSegLib.jobs.work.memory import system_memory_gib

RESULT = "probe.json"
_BASE = (
    *("numpy", "scipy", "SimpleITK", "pydicom", "highdicom", "scikit-image", "openvino", "jinja2"),
    "safetensors",
)
_TRAINING = (
    *("torch", "monai", "onnx", "onnxscript", "opencv-python-headless", "scikit-learn", "matplotlib"),
    "PyYAML",
)
_WELCOME = ("tensorboard", "h5py")  # training goes without: curves in a browser, masks in MATLAB files
_GIB = 2**30
Facts = dict[str, Any]


def work(context: Context) -> list[Path]:
    """Look at Python, packages, memory, processor, OpenVINO, torch and every GPU, one stage each.

    Each stage is an event of its own, so that what crashes the process (a broken torch) is known from where
    it happened. Returns probe.json with all of it.
    """
    stages: tuple[tuple[str, Callable[[], Facts]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("computer", _computer),
        ("openvino", _openvino),
        ("torch", _torch),
    )
    facts: Facts = {}
    for number, (name, look) in enumerate(stages):
        context.progress(name, number, len(stages))
        context.check()
        facts[name] = look()
        context.event("probe", stage=name, facts=facts[name])
    facts["devices"] = _devices(facts)
    facts["training"] = _training(facts)
    write_json(context.folder / RESULT, facts)
    return [context.folder / RESULT]


def _python() -> Facts:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "system": platform.system(),
        "machine": platform.machine(),
        "pesemiseg": __version__,
        "usable": sys.version_info >= (3, 11),
    }


def _packages() -> Facts:
    """Version of each package; None where it is missing, "broken" where its record is cut short."""
    return {name: _version(name) for name in (*_BASE, *_TRAINING, *_WELCOME)}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.distribution(distribution).version or "broken"
    except importlib.metadata.PackageNotFoundError:
        return None


def _computer() -> Facts:
    total, free = system_memory_gib()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "memory_gib": total, "memory_free_gib": free}


def _openvino() -> Facts:
    """The CPU engine: whether it runs, and what it computes in."""
    try:
        import openvino

        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        name = str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))
    except ModuleNotFoundError:
        return {"usable": False, "why": "OpenVINO is not installed"}
    except Exception as error:
        return {"usable": False, "why": f"OpenVINO does not run here: {_first_line(error)}"}
    return {
        "usable": True,
        "version": _version("openvino"),
        "cpu": name.strip(),
        "bf16": "BF16" in capabilities,
    }


def _torch() -> Facts:
    """torch itself, and every GPU with what is wrong with it."""
    if importlib.util.find_spec("torch") is None:
        return {
            "usable": False,
            "why": "torch is not installed",
            "gpus": _gpus_of_the_driver("torch is not installed"),
        }
    try:
        import torch

        float(torch.ones(2).sum())
    except Exception as error:
        why = f"torch is installed but does not work ({_first_line(error)}); repair or reinstall it"
        return {"usable": False, "broken": True, "why": why, "gpus": _gpus_of_the_driver(why)}
    facts: Facts = {
        "usable": True,
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "architectures": torch.cuda.get_arch_list(),
    }
    if torch.cuda.is_available():
        facts["gpus"] = [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    else:
        facts["gpus"] = _gpus_of_the_driver(_why_no_cuda(torch))
    return facts


def _why_no_cuda(torch: Any) -> str:
    """Why torch sees no GPU although there may be one."""
    if torch.version.cuda is None:
        return "this torch was built without CUDA; install a CUDA build of torch"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides it"
    try:
        torch.cuda.init()
    except Exception as error:
        return f"CUDA {torch.version.cuda} of torch does not start: {_first_line(error)}"
    return "torch finds no CUDA device"


def _gpu(torch: Any, index: int) -> Facts:
    """One CUDA device: name, memory, and the outcome of a small computation on it."""
    facts: Facts = {"device": f"cuda:{index}", "usable": False}
    try:
        about = torch.cuda.get_device_properties(index)
        facts |= {"name": about.name, "memory_gib": round(about.total_memory / _GIB, 1)}
        facts["capability"] = f"{about.major}.{about.minor}"
        if _version("safetensors") is None:
            return facts | {"why": "safetensors is not installed, which reads a model's weights"}
        if why := unsupported(about.major, about.minor, torch.cuda.get_arch_list(), torch.__version__):
            return facts | {"why": why}
        free, _ = torch.cuda.mem_get_info(index)
        facts["memory_free_gib"] = round(free / _GIB, 1)
        kernel = torch.ones(1, 1, 3, 3, device=f"cuda:{index}")
        total = float(
            torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8, device=f"cuda:{index}"), kernel).sum()
        )
        if total != 324.0:
            return facts | {"why": "it computes wrong results; update its driver"}
    except Exception as error:
        return facts | {"why": f"it does not answer: {_first_line(error)}"}
    return facts | {"usable": True, "bf16": about.major >= 8}


def unsupported(major: int, minor: int, architectures: list[str], version: str) -> str | None:
    """Why a torch built for `architectures` ("sm_90", "compute_90") cannot run on a GPU; None if it can.

    Machine code runs on the same major and a minor from its own on; intermediate code on everything later.
    """
    numbers = []
    for entry in architectures:
        kind, _, digits = entry.partition("_")
        digits = digits.rstrip("af")
        if digits.isdigit():
            numbers.append((kind, int(digits[:-1]), int(digits[-1])))
    fits = any(
        (kind == "sm" and (a, b <= minor) == (major, True))
        or (kind == "compute" and (a, b) <= (major, minor))
        for kind, a, b in numbers
    )
    if fits or not numbers:
        return None
    oldest, newest = min(n[1:] for n in numbers), max(n[1:] for n in numbers)
    age = "newer" if (major, minor) > newest else "older" if (major, minor) < oldest else "other"
    advice = "install a newer torch" if age == "newer" else "use the CPU, or an older torch"
    return (
        f"it has compute capability {major}.{minor}, {age} than what torch {version} was built for "
        f"({oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}); {advice}"
    )


def _gpus_of_the_driver(why: str) -> list[Facts]:
    """The NVIDIA GPUs that the driver's own tool lists, none of them usable, with the reason."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    hidden = {"creationflags": 0x08000000} if os.name == "nt" else {}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, **hidden)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for index, line in enumerate(answer.stdout.splitlines()):
        name, memory_mib, driver = [part.strip() for part in [*line.split(","), "", ""][:3]]
        facts: Facts = {
            "device": f"cuda:{index}",
            "name": name,
            "driver": driver,
            "usable": False,
            "why": why,
        }
        if memory_mib.isdigit():
            facts["memory_gib"] = round(int(memory_mib) / 1024, 1)
        found.append(facts)
    return found


def _devices(facts: Facts) -> list[Facts]:
    """What a device box shows: every GPU and the CPU, with a reason where one cannot be used."""
    openvino, torch = facts["openvino"], facts["torch"]
    cpu: Facts = {
        "device": "cpu",
        "name": openvino.get("cpu") or platform.processor() or platform.machine(),
        "usable": openvino["usable"] or torch["usable"],
        "bf16": openvino.get("bf16", False),
        "memory_gib": facts["computer"]["memory_gib"],
        "memory_free_gib": facts["computer"]["memory_free_gib"],
    }
    if not cpu["usable"]:
        cpu["why"] = f"{openvino['why']}, and {torch['why']}"
    return [*torch["gpus"], cpu]


def _training(facts: Facts) -> Facts:
    """Whether this Python can train."""
    missing = [name for name in (*_BASE, *_TRAINING) if facts["packages"][name] in (None, "broken")]
    if missing:
        return {"usable": False, "why": f"not installed: {', '.join(missing)}"}
    if not facts["torch"]["usable"]:
        return {"usable": False, "why": facts["torch"]["why"]}
    return {"usable": True}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
