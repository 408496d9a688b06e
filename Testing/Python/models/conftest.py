"""One tiny sound package for the whole room, and a way to damage copies of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from PESemiSegLib.atomic import sha256_of
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.package import write_package
from PESemiSegLib.networks.build import build_discriminator, build_segmenter
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.hrnet import HRNet

NETWORK = NetworkConfig(width=2, carafe_mid=2)
DISCRIMINATOR = DiscriminatorConfig(channels=(4, 4))


def make_info(**changes) -> PackageInfo:
    values = {
        "name": "tiny",
        "network": NETWORK.to_dict(),
        "discriminator": DISCRIMINATOR.to_dict(),
        "spacing_mm": 0.8,
        "data_origin": "phantom",
        "training": {"command": "pesemiseg train", "seeds": [1, 2]},
        "metrics": {"site A": {"dice": 0.5}},
    }
    return PackageInfo(**(values | changes))


@pytest.fixture(scope="session")
def info_maker() -> Callable[..., PackageInfo]:
    """Make the tiny package's info with some fields changed."""
    return make_info


@pytest.fixture(scope="session")
def tiny_networks() -> tuple[HRNet, Discriminator]:
    """The networks that the tiny package is made of, untrained but with norms that have seen something."""
    segmenter = build_segmenter(NETWORK, seed=1)
    segmenter.head[-1].bias.data.zero_()
    discriminator = build_discriminator(DISCRIMINATOR, NETWORK.feature_channels, seed=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in segmenter.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
    return segmenter, discriminator


@pytest.fixture(scope="session")
def package_folder(tmp_path_factory, tiny_networks) -> Path:
    """A sound package; tests must not change it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_package(folder, make_info(), *tiny_networks)
    return folder


@pytest.fixture
def damaged(package_folder, tmp_path) -> Callable[..., Path]:
    """Copy the package, let `change` damage the copy, and write matching hashes unless told not to."""

    def make(change: Callable[[Path], object], *, rehash: bool = True, name: str = "tiny") -> Path:
        folder = tmp_path / name
        shutil.copytree(package_folder, folder)
        change(folder)
        if rehash:
            table = json.loads((folder / "model.json").read_text())
            table["files"] = {
                file: sha256_of(folder / file) if (folder / file).is_file() else digest
                for file, digest in table["files"].items()
            }
            (folder / "model.json").write_text(json.dumps(table))
        return folder

    return make


@pytest.fixture
def info_changed(package_folder, tmp_path) -> Callable[..., Path]:
    """Copy the package with fields of its model.json replaced (a value of `...` deletes the field)."""

    def make(**changes) -> Path:
        folder = tmp_path / "tiny"
        shutil.copytree(package_folder, folder)
        table = json.loads((folder / "model.json").read_text()) | changes
        table = {key: value for key, value in table.items() if value is not ...}
        (folder / "model.json").write_text(json.dumps(table))
        return folder

    return make
