"""From a package to torch networks with its weights; needs torch and safetensors."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import nn

from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.package import ModelPackage
from PESemiSegLib.networks.build import build_judge, build_segmenter
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.segmenter import Segmenter


def load_segmenter(package: ModelPackage) -> Segmenter:
    """Return the segmenter (of a model that identifies: its `cpmn.Pathway`) on the CPU, in evaluation mode.

    Raises:
        PackageError: if the weights do not fit the settings of model.json.
    """
    network = build_segmenter(package.info.network_config)
    _load(network, package, f"{package.info.what.parts[0]}.safetensors")
    return network


def load_discriminator(package: ModelPackage) -> Discriminator:
    """Return the discriminator on the CPU, in evaluation mode.

    Raises:
        PackageError: if the weights do not fit the settings of model.json.
    """
    network = build_judge(package.info.discriminator_config, package.info.network_config)
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
