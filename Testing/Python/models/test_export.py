"""The exported graphs compute what the networks do: OpenVINO float32 against torch float64, at free sizes."""

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from PESemiSegLib.models.archive import pack
from PESemiSegLib.models.package import read_package, write_package
from PESemiSegLib.networks.build import build_discriminator, build_segmenter
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

SHAPES = [(1, 64, 96), (3, 112, 80), (1, 160, 48), (2, 32, 32)]


def compiled(path):
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return openvino.Core().compile_model(str(path), "CPU", options)


def lived_in(network):
    """Give the norms statistics that differ from the fresh ones, so that a lost norm shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
    return network


CASES = {
    "demo": (NetworkConfig(width=4, carafe_mid=8), DiscriminatorConfig(channels=(8, 4))),
    "every option": (
        NetworkConfig(width=2, stem="quarter", stage4=True, context=3, carafe_mid=4),
        DiscriminatorConfig(channels=(4,), feature_resolution="input", mask_weight=2),
    ),
    "mask only": (
        NetworkConfig(width=2, upsample="bilinear"),
        DiscriminatorConfig(kind="mask_only", channels=(4, 4)),
    ),
    "U-Net": (
        NetworkConfig(width=2, architecture="unet2d", context=3),
        DiscriminatorConfig(channels=(4,)),
    ),
    "Attention U-Net": (
        NetworkConfig(width=2, architecture="attention_unet"),
        DiscriminatorConfig(kind="mask_only", channels=(4, 4)),
    ),
    "DeepLabV3+": (
        NetworkConfig(width=2, architecture="deeplabv3plus"),
        DiscriminatorConfig(channels=(4,), feature_resolution="input"),
    ),
    "HRNet Large": (
        NetworkConfig(width=2, stage4=True, upsample="bilinear"),
        DiscriminatorConfig(channels=(4,)),
    ),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request, tmp_path_factory, info_maker):
    network, discriminator = CASES[request.param]
    networks = (
        lived_in(build_segmenter(network, seed=1)),
        build_discriminator(discriminator, network.feature_channels, network.feature_stride, seed=2),
    )
    info = info_maker(
        network=network.to_dict(), discriminator=discriminator.to_dict(), context=network.context
    )
    package = write_package(tmp_path_factory.mktemp("export") / "p", info, *networks)
    return package, *(part.double().eval() for part in networks)


def close(got, expected):
    expected = expected.numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0)


def test_graphs_equal_the_networks(case):
    package, segmenter, discriminator = case
    with_features = package.info.discriminator_config.kind == "feature"
    run_segmenter, run_discriminator = (
        compiled(package.file(f"{part}.onnx")) for part in ("segmenter", "discriminator")
    )
    generator = torch.Generator().manual_seed(3)
    for batch, height, width in SHAPES:
        image = torch.rand(batch, package.info.context, height, width, generator=generator) * 2 - 1
        with torch.no_grad():
            logits, features = segmenter.forward_features(image.double())
            confidence = discriminator(logits.sigmoid(), features)
        result = run_segmenter({"image": image.numpy()})
        close(result["logits"], logits)
        close(result["features"], features)
        inputs = {"probability": logits.sigmoid().float().numpy()}
        if with_features:
            inputs["features"] = features.float().numpy()
        close(run_discriminator(inputs)["confidence_logits"], confidence)


def test_zip_runs_like_the_folder(package_folder, tmp_path):
    pack(package_folder, tmp_path / "p.zip")
    image = np.zeros((1, 1, 32, 32), np.float32)
    packages = [read_package(package_folder), read_package(tmp_path / "p.zip")]
    assert packages[0].sha256 == packages[1].sha256
    logits = [compiled(package.file("segmenter.onnx"))({"image": image})["logits"] for package in packages]
    np.testing.assert_array_equal(*logits)


def test_an_untrained_demo_sized_package_fits_its_budget(tmp_path, info_maker):
    """The demo package may take 10 MB; weights stored twice would take 12."""
    network, discriminator = NetworkConfig(), DiscriminatorConfig()
    info = info_maker(network=network.to_dict(), discriminator=discriminator.to_dict())
    package = write_package(
        tmp_path / "p",
        info,
        build_segmenter(network, seed=0),
        build_discriminator(discriminator, network.feature_channels, seed=0),
    )
    assert sum(entry.stat().st_size for entry in package.folder.iterdir()) < 7e6
