"""Writes the networks' files: weights as safetensors, and ONNX graphs over those same weights.

Only this module and `load` import torch; everything else of this room works without it.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import onnx
import torch
from safetensors.torch import save
from torch import Tensor, nn

from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.tensors import read_spans
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.segmenter import Segmenter

OPSET = 17
_EXAMPLE_SIZE = (64, 96)  # any multiples of 16; the graph's sizes stay free
_EXAMPLE_CROP = (32, 64, 96)  # of 32


def export_networks(segmenter: Segmenter, discriminator: Discriminator | None, folder: Path) -> None:
    """Write the files of a package's networks; see `Kind.parts`."""
    if segmenter.config.volume is not None:
        export_identifier(segmenter, folder)
    else:
        export_segmenter(segmenter, folder)
    if discriminator is not None:
        export_discriminator(discriminator, segmenter.config.feature_channels, folder)


def export_identifier(pathway: Segmenter, folder: Path) -> None:
    """Write identifier.safetensors and .onnx of a `cpmn.Pathway`: image -> logits, class_logits, deepest,
    cam_weights, see `cpmn.Reading` (free batch, depth, height, width)."""
    image = torch.zeros(2, 1, *_EXAMPLE_CROP)
    network = _copy(pathway)
    outputs = ("logits", "class_logits", "deepest", "cam_weights")
    space = {0: "batch", 2: "depth", 3: "height", 4: "width"}
    free = {"image": space, "logits": space, "deepest": space}
    free |= {"class_logits": {0: "batch"}, "cam_weights": {0: "batch"}}
    _export(network, _Read(network), {"image": image}, outputs, folder / "identifier", free)


def export_segmenter(segmenter: Segmenter, folder: Path) -> None:
    """Write segmenter.safetensors and .onnx: image -> logits, features (free batch, height, width)."""
    height, width = _EXAMPLE_SIZE
    image = torch.zeros(2, segmenter.config.context, height, width)
    network = _copy(segmenter)
    _export(network, _Features(network), {"image": image}, ("logits", "features"), folder / "segmenter")


def export_discriminator(discriminator: Discriminator, feature_channels: int, folder: Path) -> None:
    """Write discriminator.safetensors and .onnx: probability, features -> confidence_logits.

    The mask-only kind has no input "features".
    """
    height, width = _EXAMPLE_SIZE
    stride = discriminator.feature_stride
    inputs = {"probability": torch.full((2, discriminator.mask_channels, height, width), 0.5)}
    if discriminator.config.kind == "feature":
        inputs["features"] = torch.zeros(2, feature_channels, height // stride, width // stride)
    network = _copy(discriminator)
    _export(network, _Confidence(network), inputs, ("confidence_logits",), folder / "discriminator")


Network = TypeVar("Network", bound=nn.Module)


class _Features(nn.Module):
    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.forward_features(image)


class _Read(nn.Module):
    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        reading = self.network.read(image)  # type: ignore[operator]
        return reading.logits, reading.classes, reading.deepest, reading.cam_weights


class _Confidence(nn.Module):
    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.network = network

    def forward(self, probability: Tensor, features: Tensor | None = None) -> Tensor:
        return self.network(probability, features)


def _copy(network: Network) -> Network:
    """An evaluation copy on the CPU, so that the caller's network stays as it is."""
    return copy.deepcopy(network).cpu().float().eval()


def _export(
    network: nn.Module,
    view: nn.Module,
    example: dict[str, Tensor],
    outputs: tuple[str, ...],
    stem: Path,
    free: dict[str, dict[int, str]] | None = None,
) -> None:
    weights, graph = stem.with_suffix(".safetensors"), stem.with_suffix(".onnx")
    state = network.state_dict()
    if broken := [name for name, value in state.items() if not torch.isfinite(value).all()]:
        raise PackageError(f"the network's weights hold NaN or infinity ({broken[0]}): it cannot be packaged")
    weights.write_bytes(save({name: value.contiguous() for name, value in state.items()}))
    free = free or {name: {0: "batch", 2: "height", 3: "width"} for name in (*example, *outputs)}
    with _quiet():
        # The tracing exporter: the newer one takes minutes for free sizes and gives no better graph.
        torch.onnx.export(
            view.eval(),
            tuple(example.values()),
            str(graph),
            dynamo=False,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,  # with the two below: weights stay as they are stored
            do_constant_folding=False,
            keep_initializers_as_inputs=False,
        )
    _link_weights(graph, weights)


def _link_weights(graph: Path, weights: Path) -> None:
    """Let the graph take its weights from the safetensors file: they are stored once and cannot differ."""
    model, spans, values = onnx.load(graph), read_spans(weights), weights.read_bytes()
    for tensor in model.graph.initializer:
        span = spans.get(tensor.name.removeprefix("network."))
        if span is None or tensor.raw_data != values[span.start : span.start + span.length]:
            raise PackageError(f"{graph.name}: {tensor.name} is not among the stored weights")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", span.start), ("length", span.length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    graph.write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about tracing and deprecation out of the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
