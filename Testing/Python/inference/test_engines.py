"""The engines: agreement with float64, order, cancelling, memory that runs out, and the choice among them."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.errors import Cancelled, ConfigError, DeviceError, PackageError
from PESemiSegLib.inference.engines import openvino_engine, select
from PESemiSegLib.inference.engines.base import is_out_of_memory
from PESemiSegLib.inference.engines.batches import run_in_batches
from PESemiSegLib.inference.engines.openvino_engine import OpenVinoEngine
from PESemiSegLib.inference.engines.select import choose, cpu_has_bf16, cpu_threads, open_engine
from PESemiSegLib.inference.progress import run_polled, wait_for


def nothing():
    pass


SHAPE = (1, 64, 80)


def slices(count, context=1, size=SHAPE[1:], seed=0):
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(0, 0.6, (context, *size)), -1, 1).astype(np.float32) for _ in range(count)]


def reference(package, inputs):
    """Both networks in float64, one slice at a time, unfused."""
    import torch

    from PESemiSegLib.models.load import load_discriminator, load_segmenter

    segmenter, judge = load_segmenter(package).double(), load_discriminator(package).double()
    with torch.no_grad():
        for item in inputs:
            logits, features = segmenter.forward_features(torch.from_numpy(item)[None].double())
            p = logits.sigmoid()
            yield p[0, 0].numpy(), judge(p, features).sigmoid()[0, 0].numpy()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("fixture", ["tiny_package", "context_package"])
def test_engines_equal_float64(engine, fixture, request):
    pytest.importorskip("torch")
    package = request.getfixturevalue(fixture)
    inputs = slices(5, package.info.context)
    running = open_engine(choose("cpu", "fp32", engine), package, inputs[0].shape, threads=2)
    made = list(running.run(inputs, nothing))
    running.close()
    assert len(made) == 5
    for (p, c), (wanted_p, wanted_c) in zip(made, reference(package, inputs), strict=True):
        assert p.dtype == c.dtype == np.float32
        np.testing.assert_allclose(p, wanted_p, atol=2e-5)
        np.testing.assert_allclose(c, wanted_c, atol=2e-5)
        cut = float(np.quantile(wanted_p, 0.9))
        unclear = np.abs(wanted_p - cut) < 1e-5
        np.testing.assert_array_equal((p >= cut)[~unclear], (wanted_p >= cut)[~unclear])


def test_the_discriminator_sees_the_probability_not_the_mask(tiny_package, engine):
    """Feeding the thresholded mask instead would give another map: the wiring matters."""
    import torch

    from PESemiSegLib.models.load import load_discriminator, load_segmenter

    inputs = slices(1)
    made = next(engine.run(inputs, nothing))
    with torch.no_grad():
        logits, features = load_segmenter(tiny_package).forward_features(torch.from_numpy(inputs[0])[None])
        mask = (logits > logits.median()).float()
        other = load_discriminator(tiny_package)(mask, features).sigmoid()[0, 0].numpy()
    assert np.abs(other - made[1]).max() > 1e-3


@pytest.fixture(scope="module")
def engine(tiny_package):
    return OpenVinoEngine(tiny_package, SHAPE, precision="fp32", threads=2)


def test_two_runs_give_the_same_bits(engine):
    inputs = slices(6)
    first, second = ([np.stack(o) for o in engine.run(inputs, nothing)] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_precision_and_streams_are_set_explicitly(engine):
    compiled = engine._compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("NUM_STREAMS") == 2
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_inputs_are_taken_as_needed(engine):
    """A generator over 300 slices must not be emptied into memory."""
    taken = []

    def source():
        for n, item in enumerate(slices(10)):
            taken.append(n)
            yield item

    running = engine.run(source(), nothing)
    next(running)
    assert len(taken) <= 4
    running.close()


def test_a_poll_that_raises_stops_openvino(engine):
    calls = []

    def poll():
        calls.append(1)
        if len(calls) > 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        list(engine.run(slices(50), poll))
    assert len(list(engine.run(slices(3), nothing))) == 3  # and it still works


class Scarce:
    """A `forward` that has memory for `room` slices at once."""

    def __init__(self, room, error=None):
        self.room, self.sizes = room, []
        self.error = error or RuntimeError("CUDA error: out of memory")

    def __call__(self, stacked):
        self.sizes.append(len(stacked))
        if len(stacked) > self.room:
            raise self.error
        return stacked[:, 0], -stacked[:, 0]


def batches(forward, inputs, batch, poll=nothing, free=nothing):
    return list(run_in_batches(inputs, batch, forward, poll, advice="do this", free=free))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_batches_keep_order_and_are_always_full(count):
    forward, inputs = Scarce(8), slices(count)
    made = batches(forward, iter(inputs), 4)
    np.testing.assert_array_equal([p for p, _ in made], [i[0] for i in inputs])
    assert set(forward.sizes) <= {4}


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_runs_out_halves_the_batch_and_loses_no_slice(error):
    forward, inputs, freed = Scarce(2, error), slices(9), []
    made = batches(forward, inputs, 8, free=lambda: freed.append(1))
    np.testing.assert_array_equal([p for p, _ in made], [i[0] for i in inputs])
    assert forward.sizes[:3] == [8, 4, 2]
    assert len(freed) == 2


def test_memory_for_not_even_one_slice_is_an_error_with_advice():
    with pytest.raises(DeviceError, match="single slice; do this"):
        batches(Scarce(0), slices(3), 4)


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="shape mismatch"):
        batches(Scarce(0, RuntimeError("shape mismatch")), slices(2), 2)


def test_cancel_does_not_wait_for_a_slow_batch():
    release = threading.Event()

    def slow(stacked):
        release.wait(20)
        return stacked[:, 0], stacked[:, 0]

    began = time.monotonic()

    def poll():
        if time.monotonic() - began > 0.2:
            raise Cancelled("stop")

    try:
        with pytest.raises(Cancelled):
            batches(slow, slices(4), 2, poll)
        assert time.monotonic() - began < 2
    finally:
        release.set()


def test_openvino_out_of_memory_halves_the_streams_then_gives_up(tiny_package, monkeypatch):
    engine = OpenVinoEngine(tiny_package, SHAPE, precision="fp32", threads=4)
    compile_again, finish, tried, room = engine._compile, openvino_engine._finished, [], 1

    def scarce(request):
        if engine._threads > room:
            raise RuntimeError("std::bad_alloc")
        return finish(request)

    monkeypatch.setattr(openvino_engine, "_finished", scarce)
    monkeypatch.setattr(engine, "_compile", lambda: tried.append(engine._threads) or compile_again())
    inputs = slices(6)
    made = list(engine.run(iter(inputs), nothing))
    assert tried == [2, 1]
    room = 9
    np.testing.assert_array_equal([p for p, _ in made], [p for p, _ in engine.run(inputs, nothing)])
    room = 0
    with pytest.raises(DeviceError, match="memory does not suffice"):
        list(engine.run(iter(inputs), nothing))


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("Can't allocate memory"), True),
        (RuntimeError("bad shape"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_memory_running_out(error, memory):
    assert is_out_of_memory(error) is memory


def test_a_broken_graph_is_a_package_error(tiny_package, tmp_path, monkeypatch):
    broken = tmp_path / "segmenter.onnx"
    broken.write_bytes(b"not a graph")
    monkeypatch.setattr(type(tiny_package), "file", lambda self, name: broken)
    with pytest.raises(PackageError, match="cannot be used"):
        OpenVinoEngine(tiny_package, (1, 64, 64), precision="fp32", threads=1)


# The choice


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


def test_a_task_s_own_timeout_is_not_mistaken_for_waiting():
    def task():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        run_polled(task, nothing)
    assert run_polled(lambda: 5, nothing) == 5


def test_waiting_polls_until_the_job_is_done():
    from concurrent.futures import Future

    job: Future[int] = Future()
    calls = []

    def poll():
        calls.append(1)
        if len(calls) == 3:
            job.set_result(7)

    assert wait_for(job, poll) == 7
    assert len(calls) == 3
