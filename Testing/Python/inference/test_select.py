"""The choice of engine, device and precision: what was asked for, or an error that says why not."""

import sys
from pathlib import Path

import pytest

from PESemiSegLib.errors import ConfigError, DeviceError
from PESemiSegLib.inference.engines import select
from PESemiSegLib.inference.engines.select import choose, cpu_has_bf16, cpu_threads


@pytest.fixture
def machine(monkeypatch):
    """A machine made up for the choice: set its parts."""

    class Machine:
        def __call__(self, installed=("openvino", "torch"), cuda=None, cuda_bf16=True, cpu_bf16=False):
            monkeypatch.setattr(select, "_installed", lambda name: name in installed)
            monkeypatch.setattr(select, "_cuda_trouble", lambda device: cuda)
            monkeypatch.setattr(select, "cpu_has_bf16", lambda engine: cpu_bf16)
            from PESemiSegLib.inference.engines import torch_engine

            monkeypatch.setattr(torch_engine, "cuda_has_bf16", lambda device: cuda_bf16)

    return Machine()


@pytest.mark.parametrize(
    ("parts", "asked", "got"),
    [
        ({}, {}, ("torch", "cuda:0", "bf16")),
        ({"cuda_bf16": False}, {}, ("torch", "cuda:0", "fp16")),
        ({"cuda": "no driver"}, {}, ("openvino", "cpu", "fp32")),
        ({"cuda": "no driver", "cpu_bf16": True}, {}, ("openvino", "cpu", "bf16")),
        ({"cuda": "no driver", "installed": ("torch",)}, {}, ("torch", "cpu", "fp32")),
        ({}, {"device": "cpu"}, ("openvino", "cpu", "fp32")),
        ({}, {"engine": "openvino"}, ("openvino", "cpu", "fp32")),
        ({}, {"device": "cuda:3", "precision": "fp32"}, ("torch", "cuda:3", "fp32")),
        ({"cpu_bf16": True}, {"device": "cpu", "precision": "fp32"}, ("openvino", "cpu", "fp32")),
    ],
)
def test_choice(machine, parts, asked, got):
    machine(**parts)
    choice = choose(**asked)
    assert (choice.engine, choice.device, choice.precision) == got
    assert choice.device in choice.reason


@pytest.mark.parametrize(
    ("parts", "asked", "reason"),
    [
        ({"cuda": "there is no NVIDIA driver"}, {"device": "cuda"}, "no NVIDIA driver"),
        ({}, {"device": "cuda", "engine": "openvino"}, "OpenVINO does not run on cuda"),
        ({"installed": ("torch",)}, {"engine": "openvino"}, "not installed"),
        ({"installed": ("openvino",)}, {"device": "cpu", "engine": "torch"}, "not installed"),
        ({}, {"device": "cpu", "precision": "bf16"}, "no bfloat16 instructions"),
        ({}, {"device": "cpu", "precision": "fp16"}, "fp16 is for CUDA"),
        ({"cuda_bf16": False}, {"device": "cuda", "precision": "bf16"}, "does not compute in bfloat16"),
    ],
)
def test_what_is_asked_for_and_unusable_is_an_error_that_says_why(machine, parts, asked, reason):
    machine(**parts)
    with pytest.raises(DeviceError, match=reason):
        choose(**asked)


@pytest.mark.parametrize(
    "asked", [{"device": "gpu"}, {"device": "cuda:x"}, {"precision": "int8"}, {"engine": "tensorrt"}]
)
def test_values_that_do_not_exist_are_named(asked):
    with pytest.raises(ConfigError, match=r"unknown; choose"):
        choose(**asked)


@pytest.mark.parametrize("missing", ["safetensors", "PESemiSegLib.inference.engines.torch_engine"])
def test_asking_about_cuda_ends_in_words_where_the_torch_engine_is_broken(monkeypatch, missing):
    """A driver, a torch, and no safetensors; or half a torch."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(select, "_installed", lambda name: True)
    monkeypatch.setattr(select, "_has_nvidia_driver", lambda: True)
    for name in ("PESemiSegLib.inference.engines.torch_engine", "PESemiSegLib.models.load"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in (missing, f"{missing}.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    choice = choose()
    assert (choice.engine, choice.device) == ("openvino", "cpu")
    assert missing.rpartition(".")[2] in choice.reason
    with pytest.raises(DeviceError, match=r"cuda:0 cannot be used: the torch engine does not start"):
        choose("cuda:0")


def test_bf16_is_read_from_the_cpu_flags(tmp_path: Path):
    listing = tmp_path / "cpuinfo"
    for flags, expected in (("avx2 avx512f", False), ("avx512_bf16 avx2", True), ("amx_bf16", True)):
        listing.write_text(f"model name : x\nflags\t\t: {flags}\n")
        assert cpu_has_bf16("torch", listing) is expected
    assert cpu_has_bf16("torch", tmp_path / "none") is False


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert cpu_threads() >= 1
