"""Owns the torch engine: CUDA in half precision, or a CPU without OpenVINO. Only this file imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from PESemiSegLib.errors import DeviceError
from PESemiSegLib.inference.engines.base import EngineInfo, Output, is_out_of_memory
from PESemiSegLib.inference.engines.batches import run_in_batches
from PESemiSegLib.inference.progress import Poll
from PESemiSegLib.models.load import load_discriminator, load_segmenter
from PESemiSegLib.networks.fuse import fold_batch_norms
from PESemiSegLib.networks.outputs import probabilities

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

CUDA_BATCH = 16
_DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}


class _SegmentAndJudge(nn.Module):
    """image (B, C, H, W) -> probability (B, H, W), or (B, classes, H, W), and D's confidence (B, H, W)."""

    def __init__(self, segmenter: nn.Module, discriminator: nn.Module | None) -> None:
        super().__init__()
        self.segmenter, self.discriminator = segmenter, discriminator

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, features = self.segmenter.forward_features(image)  # type: ignore[operator]
        probability = probabilities(logits)
        said = probability[:, 0] if logits.shape[1] == 1 else probability
        if self.discriminator is None:
            return (said,)
        return said, self.discriminator(probability, features).sigmoid()[:, 0]


class _Identify(nn.Module):
    """image (B, 1, z, y, x) -> what `base.Output` names of an identifier."""

    def __init__(self, pathway: nn.Module) -> None:
        super().__init__()
        self.pathway = pathway

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        said = self.pathway.read(image)  # type: ignore[operator]
        seen = torch.einsum("bc,bc...->b...", said.cam_weights, said.deepest).relu()
        return said.logits.sigmoid()[:, 0], said.classes.softmax(1), seen


class TorchEngine:
    """Runs a package's networks with torch, batch norms folded into the convolutions.

    Args:
        package: a verified model package.
        device: "cpu", "cuda" or "cuda:N"; must be usable (`select` has checked).
        precision: "fp32", "bf16", "fp16"; half precisions run under autocast, sigmoid and CARAFE's softmax in
            float32. "fp64" is the reference of the tests.
        batch: inputs at once; 0 takes 16 slices on CUDA, and 1 on a CPU (more is slower there) or of windows.
        threads: CPU threads, set for the whole process; 0 leaves torch's own choice.
        judge: False leaves the discriminator out: of slices, the probability alone.

    Raises:
        DeviceError: the weights do not fit into the device's memory.
    """

    def __init__(
        self,
        package: ModelPackage,
        *,
        device: str,
        precision: str,
        batch: int = 0,
        threads: int = 0,
        judge: bool = True,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device, self._dtype = torch.device(device), _DTYPE[precision]
        self._layout = torch.channels_last
        if package.info.network_config.volume is not None:
            self._layout, batch = torch.contiguous_format, batch or 1
        self._batch = batch or (CUDA_BATCH if self._device.type == "cuda" else 1)
        self._network: nn.Module | None = self._load(package, judge)
        cuda = self._device.type == "cuda"
        self.info = EngineInfo(
            engine="torch",
            device=str(self._device),
            device_name=torch.cuda.get_device_name(self._device) if cuda else "CPU",
            precision=precision,
            version=torch.__version__,
            threads=0 if cuda else torch.get_num_threads(),
        )

    def _load(self, package: ModelPackage, judge: bool) -> nn.Module:
        segmenter = fold_batch_norms(load_segmenter(package))
        if package.info.network_config.volume is not None:
            network: nn.Module = _Identify(segmenter).eval()
        else:
            discriminator = fold_batch_norms(load_discriminator(package)) if judge else None
            network = _SegmentAndJudge(segmenter, discriminator).eval()
        try:
            if self._dtype == torch.float64:
                return network.double().to(self._device)
            network.to(memory_format=self._layout)  # type: ignore[call-overload]
            return network.to(self._device)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise DeviceError(f"{self._device} has no room for the model; {_ADVICE}") from None
            raise

    def run(self, inputs: Iterable[np.ndarray], poll: Poll) -> Iterator[Output]:
        """See `Engine.run`. When memory runs out, the batch is halved; then DeviceError."""
        free = torch.cuda.empty_cache if self._device.type == "cuda" else _nothing
        return run_in_batches(inputs, self._batch, self._forward, poll, advice=_ADVICE, free=free)

    def _forward(self, stacked: np.ndarray) -> Output:
        half = self._dtype in (torch.bfloat16, torch.float16)
        autocast: Any = torch.autocast(self._device.type, self._dtype) if half else nullcontext()
        with torch.inference_mode(), autocast:
            image = torch.from_numpy(stacked)
            if self._dtype == torch.float64:
                image = image.double()
            image = image.to(self._device, non_blocking=True).contiguous(memory_format=self._layout)
            assert self._network is not None
            return tuple(output.float().cpu().numpy() for output in self._network(image))

    def close(self) -> None:
        """Release the networks."""
        self._network = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


_ADVICE = (
    "use --device cpu, a model of smaller width, or leave out --whole; or close what else uses the device"
)


def _nothing() -> None:
    pass


def cuda_trouble(device: str) -> str | None:
    """Why a CUDA device cannot be used, as half a sentence; None when it can."""
    if not torch.cuda.is_available():
        if torch.version.cuda is None:
            return "this torch was built without CUDA"
        return "torch finds no CUDA device" + (
            " (CUDA_VISIBLE_DEVICES hides them)" if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else ""
        )
    index = torch.device(device).index or 0
    count = torch.cuda.device_count()
    if index >= count:
        return f"there are {count} CUDA devices, numbered from 0"
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        return f"the device does not answer: {str(error).splitlines()[0]}"
    return None


def cuda_has_bf16(device: str) -> bool:
    """Whether a usable CUDA device computes in bfloat16 natively (compute capability 8 and later)."""
    return torch.cuda.get_device_capability(torch.device(device))[0] >= 8
