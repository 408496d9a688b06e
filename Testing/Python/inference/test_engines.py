"""The engines: agreement with float64, determinism, cancelling, memory that runs out."""

import numpy as np
import pytest

from PESemiSegLib.errors import Cancelled, DeviceError, PackageError
from PESemiSegLib.inference.engines import openvino_engine
from PESemiSegLib.inference.engines.base import EngineInfo, numbers
from PESemiSegLib.inference.engines.openvino_engine import OpenVinoEngine
from PESemiSegLib.inference.engines.select import choose, open_engine


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


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_without_the_discriminator_the_probability_stays_as_it_was(engine, tiny_package):
    pytest.importorskip("torch")
    inputs = slices(2)
    made = {}
    for judge in (True, False):
        running = open_engine(
            choose("cpu", "fp32", engine), tiny_package, inputs[0].shape, threads=1, judge=judge
        )
        made[judge] = list(running.run(inputs, nothing))
        running.close()
    assert [len(output) for output in made[False]] == [1, 1]
    for (p, _), (alone,) in zip(made[True], made[False], strict=True):
        np.testing.assert_allclose(alone, p, atol=1e-6)


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
    assert compiled.get_property("ENABLE_CPU_PINNING") is False  # two programs at once would share a core


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


def test_a_broken_graph_is_a_package_error(tiny_package, tmp_path, monkeypatch):
    broken = tmp_path / "segmenter.onnx"
    broken.write_bytes(b"not a graph")
    monkeypatch.setattr(type(tiny_package), "file", lambda self, name: broken)
    with pytest.raises(PackageError, match="cannot be used"):
        OpenVinoEngine(tiny_package, (1, 64, 64), precision="fp32", threads=1)


def test_weights_of_another_shape_than_the_settings_say_are_a_package_error(context_package):
    with pytest.raises(PackageError, match="cannot be used"):
        OpenVinoEngine(context_package, (5, 64, 64), precision="fp32", threads=1)


@pytest.mark.parametrize(("precision", "advice"), [("fp32", "model again"), ("fp16", "precision fp32")])
def test_what_is_no_number_is_not_passed_on(precision, advice):
    info = EngineInfo("fake", "cpu", "none", precision, "0")
    sound, broken = np.zeros((2, 4, 4), np.float32)
    broken[1, 2] = np.nan
    told = numbers([(sound, sound), (sound, broken)], info)
    assert len(next(told)) == 2
    with pytest.raises(DeviceError, match=advice):
        next(told)
