"""What is measured: the demo model in its literal and its shipped forms, and the scans it runs on."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import torch
from measuring import Subject
from torch import nn

from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.load import load_segmenter
from PESemiSegLib.models.package import ModelPackage, read_package, write_package
from PESemiSegLib.models.store import demo_folder
from PESemiSegLib.networks.build import build_discriminator, build_segmenter
from PESemiSegLib.networks.carafe import CARAFE
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.fuse import fold_batch_norms
from PESemiSegLib.networks.hrnet import HRNet
from PESemiSegLib.phantom.patient import make_case
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.volumes.volume import Volume, from_array

CACHE = Path(__file__).resolve().parents[2] / "out" / "bench"


@dataclass(frozen=True)
class Model:
    """The package under test; `trained` is false where random weights stand in for the demo model."""

    package: ModelPackage
    segmenter: HRNet
    trained: bool


def find_model() -> Model:
    """The demo model, or random weights of the same form."""
    if folder := demo_folder():
        package = read_package(folder)
        return Model(package, load_segmenter(package), trained=True)
    network, judge = NetworkConfig(), DiscriminatorConfig()
    info = PackageInfo(
        name="random",
        network=network.to_dict(),
        discriminator=judge.to_dict(),
        spacing_mm=0.8,
        data_origin="phantom",
    )
    folder = Path(tempfile.mkdtemp(prefix="pesemiseg-bench-")) / "random"
    segmenter = build_segmenter(network, seed=0)
    package = write_package(
        folder, info, segmenter, build_discriminator(judge, network.feature_channels, seed=0)
    )
    return Model(package, load_segmenter(package), trained=False)


def literal(segmenter: HRNet) -> HRNet:
    """The network as one would write it down: eager, CARAFE by unfolding at high resolution."""
    network = copy.deepcopy(segmenter).eval()
    for layer in network.modules():
        if isinstance(layer, CARAFE):
            layer.form = "naive"
    return network


def eager(network: nn.Module, image: np.ndarray) -> Subject:
    """One forward pass with torch, float32."""
    tensor = torch.from_numpy(image)

    def run() -> object:
        with torch.inference_mode():
            return network(tensor)

    return run


def folded(segmenter: HRNet) -> nn.Module:
    """The torch engine's form: norms folded, channels last, CARAFE by taps."""
    return fold_batch_norms(segmenter).to(memory_format=torch.channels_last)


class OpenVino:
    """A graph compiled for one thread and one input shape."""

    def __init__(self, model: openvino.Model, shape: tuple[int, ...], precision: str) -> None:
        core = openvino.Core()
        model.reshape(list(shape))
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        self.compiled = core.compile_model(model, "CPU", options)
        self.request = self.compiled.create_infer_request()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The first output; a view that the next call overwrites."""
        self.request.infer([image], share_inputs=True, share_outputs=True)
        return self.request.get_output_tensor(0).data

    def subject(self, image: np.ndarray) -> Subject:
        return lambda: self(image)


def segmenter_graph(package: ModelPackage) -> openvino.Model:
    """The segmenter of a package as OpenVINO reads it."""
    return openvino.Core().read_model(package.file("segmenter.onnx"))


def scan(preset: str, slices: int | None = None) -> Volume:
    """A made-up patient with emboli."""
    stored = _patient(preset)
    hu = stored["hu"]
    if slices is not None and len(hu) != slices:
        hu = _of_length(hu, slices)
    return from_array(hu, stored["affine"])


def most_clot(preset: str, count: int) -> np.ndarray:
    """The `count` slices of that patient with the largest area of clot, most first."""
    return np.argsort(-_patient(preset)["clot"].sum(axis=(1, 2)), kind="stable")[:count]


def _patient(preset: str) -> dict[str, np.ndarray]:
    """Scan and exact mask, kept under out/bench between runs."""
    recipe = Recipe(site="A", seed=2204, patient=4217, preset=preset, pe=True)
    path = CACHE / f"{recipe.name}-{preset}-v{recipe.version}-clot.npz"
    if not path.is_file():
        case = make_case(recipe)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, hu=case.hu, affine=case.affine, clot=case.clot_exact.astype(bool))
    with np.load(path) as stored:
        return dict(stored)


def _of_length(hu: np.ndarray, slices: int) -> np.ndarray:
    """Cut both ends evenly, or mirror them: the benchmark wants a fixed number of slices."""
    spare = len(hu) - slices
    if spare >= 0:
        return hu[spare // 2 : spare // 2 + slices]
    return np.pad(hu, ((-spare // 2, -spare - -spare // 2), (0, 0), (0, 0)), mode="symmetric")


def network_input(hu: np.ndarray, places: Sequence[int], package: ModelPackage, size: int) -> np.ndarray:
    """Central pixels of some slices of (z, y, x) HU and their neighbours, as network input (n, C, y, x)."""
    low, high = package.info.hu_window
    top, left = ((length - size) // 2 for length in hu.shape[1:])
    reach = np.arange(package.info.context) - package.info.context // 2
    stacks = np.clip(np.asarray(places)[:, None] + reach, 0, len(hu) - 1)
    cut = hu[stacks][..., top : top + size, left : left + size].astype(np.float32)
    return np.clip(2 * (cut - low) / (high - low) - 1, -1, 1)
