"""Packages of models that identify: their own files, a graph that is the network, refusals."""

import json

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from PESemiSegLib.errors import ConfigError, PackageError
from PESemiSegLib.models.archive import pack
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.models.load import load_segmenter
from PESemiSegLib.models.package import amend_package, read_package, write_package
from PESemiSegLib.networks.build import build_segmenter
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig

NETWORK = NetworkConfig(width=2, architecture="cpmn", volume=VolumeConfig((32, 64, 64), 3.0))


def lived_in(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def info(info_maker):
    return info_maker(kind="pe-identifier", network=NETWORK.to_dict(), discriminator={}, spacing_mm=3.0)


@pytest.fixture(scope="module")
def network():
    return lived_in(build_segmenter(NETWORK, seed=1))


@pytest.fixture(scope="module")
def package(tmp_path_factory, info, network):
    return write_package(tmp_path_factory.mktemp("identifier") / "p", info, network)


def test_a_package_holds_its_kinds_files_and_no_other(package, info, network, tmp_path):
    names = {path.name for path in package.folder.iterdir()}
    assert names == {"model.json", "identifier.safetensors", "identifier.onnx", "README.md"}
    assert package.info.what is IDENTIFICATION
    with pytest.raises(ConfigError, match="identifies scans and does not mark emboli"):
        package.require("emboli")
    card = (package.folder / "README.md").read_text()
    assert "32 x 64 x 64 voxels with slices of 3 mm" in card
    assert "without contrast medium" in card
    assert card.count("No published evidence from elsewhere supports it") == 1
    pack(package.folder, tmp_path / "p.zip")
    assert read_package(tmp_path / "p.zip").sha256 == package.sha256
    assert amend_package(package, tmp_path / "q", threshold=0.25).info.threshold == 0.25
    with pytest.raises(PackageError, match="settings are not those"):
        write_package(tmp_path / "r", info, build_segmenter(NetworkConfig(width=2)))


def test_the_graph_is_the_network(package, network):
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    graph = openvino.Core().compile_model(str(package.file("identifier.onnx")), "CPU", options)
    double = load_segmenter(package).double()
    for batch, shape in ((1, (32, 64, 64)), (2, (32, 32, 96))):
        image = torch.rand(batch, 1, *shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
        with torch.no_grad():
            reading = double.read(image.double())
        found = graph({"image": image.numpy()})
        pairs = {"logits": reading.logits, "class_logits": reading.classes, "deepest": reading.deepest}
        for name, expected in (pairs | {"cam_weights": reading.cam_weights}).items():
            expected = expected.numpy()
            assert found[name].shape == expected.shape
            atol = 2e-5 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found[name], expected, atol=atol, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pe-segmenter"}, "do not go together"),
        ({"network": NetworkConfig().to_dict()}, "do not go together"),
    ],
)
def test_kind_and_network_fit_each_other(info_maker, changes, message):
    values = {"kind": "pe-identifier", "network": NETWORK.to_dict(), "discriminator": {}} | changes
    with pytest.raises(PackageError, match=message):
        info_maker(**values)


def test_files_of_another_kind_are_refused(package, tmp_path):
    import shutil

    folder = tmp_path / "p"
    shutil.copytree(package.folder, folder)
    shutil.copyfile(folder / "identifier.onnx", folder / "segmenter.onnx")
    with pytest.raises(PackageError, match=r"segmenter.onnx does not belong in a package of its kind"):
        read_package(folder)
    (folder / "segmenter.onnx").unlink()
    (folder / "identifier.onnx").unlink()
    with pytest.raises(PackageError, match=r"identifier.onnx missing"):
        read_package(folder)
    assert json.loads((package.folder / "model.json").read_text())["discriminator"] == {}
