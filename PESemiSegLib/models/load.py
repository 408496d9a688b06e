"""From a package to torch networks with its weights; needs torch and safetensors."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import nn

from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.package import ModelPackage
from PESemiSegLib.networks.build import build_discriminator, build_segmenter
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.hrnet import HRNet


def load_segmenter(package: ModelPackage) -> HRNet:
    """Return the segmenter on the CPU, in evaluation mode.

    Raises:
        PackageError: if the weights do not fit the settings of model.json.
    """
    network = build_segmenter(package.info.network_config)
    _load(network, package, "segmenter.safetensors")
    return network


def load_discriminator(package: ModelPackage) -> Discriminator:
    """Return the discriminator on the CPU, in evaluation mode.

    Raises:
        PackageError: if the weights do not fit the settings of model.json.
    """
    settings = package.info.network_config
    network = build_discriminator(
        package.info.discriminator_config, settings.feature_channels, settings.feature_stride
    )
    _load(network, package, "discriminator.safetensors")
    return network


def _load(network: nn.Module, package: ModelPackage, name: str) -> None:
    try:
        network.load_state_dict(load_file(package.file(name)), strict=True)
    except RuntimeError as error:
        raise PackageError(
            f"model package {package.path.name}: {name} does not fit the network that model.json describes"
        ) from error
    network.eval()
