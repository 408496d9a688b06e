"""Owns the OpenVINO engine: a package's networks as one compiled graph, many slices in flight."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.errors import DeviceError, PackageError
from PESemiSegLib.inference.engines.base import EngineInfo, Output, is_out_of_memory
from PESemiSegLib.inference.progress import POLL_S, Poll

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

log = logging.getLogger(__name__)

# OpenVINO otherwise takes bfloat16 by itself wherever the CPU has it.
_PRECISION_HINT = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """A package's ONNX graphs as one, compiled for a CPU and one input shape.

    What follows the networks, from sigmoid to Grad-CAM, is in the graph, so that features never leave it.
    Slices run side by side, one stream of one thread each: on CPUs that beats threads within a layer and
    batches. Windows of a volume run one after the other, with all threads: their maps fill gigabytes.

    Args:
        package: a verified model package.
        input_shape: (C, H, W) of every slice, or (C, z, y, x) of every window.
        precision: "fp32" or "bf16"; set explicitly.
        threads: number of threads, which is that of the streams for slices.
        judge: False leaves the discriminator out: of slices, the probability alone.

    Raises:
        PackageError: the graphs cannot be read or joined.
        DeviceError: the graph cannot be compiled for want of memory.
    """

    def __init__(
        self,
        package: ModelPackage,
        input_shape: tuple[int, ...],
        *,
        precision: str,
        threads: int,
        judge: bool = True,
    ) -> None:
        import openvino as ov

        self._core, self._shape, self._precision = ov.Core(), input_shape, precision
        self._model = _graph(self._core, package, judge, input_shape)
        self._threads = max(1, threads)
        self._slices = len(input_shape) == 3
        self._streams = self._threads if self._slices else 1
        self._compiled = self._compile()
        self.info = EngineInfo(
            engine="openvino",
            device="cpu",
            device_name=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
            precision=precision,
            version=ov.__version__.split("-")[0],
            threads=self._threads,
        )

    def _compile(self) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION_HINT[self._precision],
            "PERFORMANCE_HINT": "THROUGHPUT" if self._slices else "LATENCY",
            "NUM_STREAMS": str(self._streams),
            "INFERENCE_NUM_THREADS": str(self._threads),
            # Pinned, two programs that run at once would share the first core and leave the others idle.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            return self._core.compile_model(self._model, "CPU", settings)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise _no_memory(self._shape) from None
            raise

    def run(self, inputs: Iterable[np.ndarray], poll: Poll) -> Iterator[Output]:
        """See `Engine.run`. When memory runs out, fewer slices run side by side; then DeviceError."""
        waiting: deque[np.ndarray] = deque()
        source = iter(inputs)
        while True:
            try:
                yield from self._stream(source, waiting, poll)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._streams == 1:
                    raise _no_memory(self._shape) from None
                self._threads = self._streams = max(1, self._streams // 2)
                log.warning("memory ran out; going on with %d slices at a time", self._streams)
                self._compiled = None
                self._compiled = self._compile()

    def _stream(
        self, source: Iterator[np.ndarray], waiting: deque[np.ndarray], poll: Poll
    ) -> Iterator[Output]:
        """Run what is in `waiting`, then `source`; `waiting` holds the inputs whose output is still owed."""
        ahead = 1 if self._slices else 0  # a window's maps are too large to be held twice
        idle = [self._compiled.create_infer_request() for _ in range(self._streams + ahead)]
        busy: deque[Any] = deque()
        pending = deque(waiting)
        try:
            while True:
                while idle:
                    if pending:
                        item = pending.popleft()
                    else:
                        fresh = next(source, None)
                        if fresh is None:
                            break
                        item = fresh
                        waiting.append(item)
                    request = idle.pop()
                    request.set_input_tensor(_tensor(item))
                    request.start_async()
                    busy.append(request)
                if not busy:
                    return
                poll()
                while not busy[0].wait_for(int(POLL_S * 1000)):
                    poll()
                request = busy.popleft()
                output = _finished(request)
                idle.append(request)
                waiting.popleft()
                yield output
        finally:
            for request in busy:
                request.cancel()

    def close(self) -> None:
        """Release the compiled graph."""
        self._compiled = self._model = None


def _finished(request: Any) -> Output:
    """Copies of all outputs of a request that has ended, single channels as such; raises what went wrong."""
    request.wait()
    outputs = (np.array(tensor.data[0], dtype=np.float32) for tensor in request.output_tensors)
    return tuple(output[0] if len(output) == 1 else output for output in outputs)


def _tensor(item: np.ndarray) -> Any:
    import openvino as ov

    return ov.Tensor(np.ascontiguousarray(item[None], dtype=np.float32))


def _no_memory(shape: tuple[int, ...]) -> DeviceError:
    what = f"{'slices' if len(shape) == 3 else 'windows'} of {'x'.join(map(str, shape[1:]))} pixels"
    return DeviceError(
        f"the memory does not suffice for {what}; close other programs, choose a smaller model"
        f"{', or leave out --whole' if len(shape) == 3 else ''}"
    )


def _graph(core: Any, package: ModelPackage, judge: bool, input_shape: tuple[int, ...]) -> Any:
    """One graph, image of that shape -> the outputs that `base.Output` names; raises PackageError."""
    try:
        if package.info.network_config.volume is not None:
            model = _identifying(core, package)
        else:
            model = _joined(core, package, judge)
        model.validate_nodes_and_infer_types()
        model.reshape([1, *input_shape])
    except (RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PackageError(f"the ONNX graphs of {package.path.name} cannot be used: {first}") from None
    return model


def _joined(core: Any, package: ModelPackage, judge: bool) -> Any:
    """image -> (probability, confidence), from segmenter and discriminator, or the first alone."""
    import openvino as ov
    from openvino import opset13 as ops

    segmenter = core.read_model(package.file("segmenter.onnx"))
    logits = _source(segmenter.output("logits"))
    several = package.info.network_config.outputs > 1
    probability = ops.softmax(logits, 1) if several else ops.sigmoid(logits)
    if not judge:
        return ov.Model([probability.output(0)], segmenter.get_parameters())
    discriminator = core.read_model(package.file("discriminator.onnx"))
    feeds = {"probability": probability.output(0), "features": _source(segmenter.output("features"))}
    for parameter in discriminator.get_parameters():
        parameter.output(0).replace(feeds[_name(parameter)])
    confidence = ops.sigmoid(_source(discriminator.output("confidence_logits")))
    return ov.Model([probability.output(0), confidence.output(0)], segmenter.get_parameters())


def _identifying(core: Any, package: ModelPackage) -> Any:
    """image -> (probability, shares of "normal" and "PE", Grad-CAM), from the package's identifier."""
    import openvino as ov
    from openvino import opset13 as ops

    network = core.read_model(package.file("identifier.onnx"))
    names = ("logits", "class_logits", "deepest", "cam_weights")
    logits, classes, deepest, weights = (_source(network.output(name)) for name in names)
    for _ in range(3):
        weights = ops.unsqueeze(weights, -1)
    seen = ops.relu(ops.reduce_sum(ops.multiply(deepest, weights), 1, keep_dims=True))
    outputs = [ops.sigmoid(logits), ops.softmax(classes, 1), seen]
    return ov.Model([output.output(0) for output in outputs], network.get_parameters())


def _source(result_output: Any) -> Any:
    """The output that feeds a model's Result node."""
    node = result_output.get_node()
    return node.input_value(0) if node.get_type_name() == "Result" else result_output


def _name(parameter: Any) -> str:
    names = parameter.output(0).get_names()
    return next((n for n in ("probability", "features") if n in names), parameter.get_friendly_name())
