"""What all tests share: real scans, a tiny model, the Slicer host, and one thread so that runs repeat."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Testing" / "SlicerHost"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans, beside the checkout or where PESEMISEG_SHARED points; skips where absent."""
    root = Path(os.environ.get("PESEMISEG_SHARED", REPOSITORY.parent / "shared"))
    if not (root / "data").is_dir():
        pytest.skip("the folder of real scans (../shared/data or $PESEMISEG_SHARED) is not here")
    return root / "data"


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[..., Path]:
    """Writes a package of two tiny, untrained networks: `make_tiny_model(folder, **fields)`."""
    pytest.importorskip("torch", reason="a package is made with torch")
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import write_package
    from PESemiSegLib.networks.build import build_discriminator, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

    network = NetworkConfig(width=2, depth="small", carafe_mid=2)
    discriminator = DiscriminatorConfig(channels=(4, 4))

    def make(folder: Path, **fields: Any) -> Path:
        info = PackageInfo(
            name="tiny",
            network=network.to_dict(),
            discriminator=discriminator.to_dict(),
            data_origin="phantom",
            **fields,
        )
        segmenter = build_segmenter(network, seed=1)
        segmenter.head[-1].bias.data.zero_()  # marks about half of all pixels; at its own start it marks none
        judge = build_discriminator(discriminator, network.feature_channels, seed=2)
        write_package(folder, info, segmenter, judge)
        return folder

    return make


@pytest.fixture(scope="session")
def make_tiny_identifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Writes a package of a tiny, untrained network that reads whole scans: `make_tiny_identifier(folder)`.

    Its head tells windows apart, and about half of all voxels are marked. It is made once for all workers.
    """
    root = tmp_path_factory.getbasetemp()
    made = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "tiny-identifier"

    def make(folder: Path) -> Path:
        if not made.exists():
            _write_tiny_identifier(folder)
            with suppress(OSError):  # another worker was quicker
                shutil.copytree(folder, root / "aside").rename(made)
            return folder
        return Path(shutil.copytree(made, folder))

    return make


def _write_tiny_identifier(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="a package is made with torch")
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import write_package
    from PESemiSegLib.networks.build import build_segmenter
    from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig

    volume = VolumeConfig((32, 64, 64), 3.0)
    network = NetworkConfig(width=2, architecture="cpmn", volume=volume)
    pathway = build_segmenter(network, seed=1)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 8, 16, 16, generator=generator).repeat_interleave(4, 2) * 2 - 1
    image = image.repeat_interleave(4, 3).repeat_interleave(4, 4)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in pathway.modules():
            if isinstance(layer, torch.nn.BatchNorm3d):
                layer.momentum = 1.0  # norms that have seen something: an untrained net says one thing only
        pathway.train().read(image)
        logits = pathway.eval().read(image).logits
        for layer in pathway.head.modules():
            if isinstance(layer, torch.nn.Conv3d):
                layer.weight *= 5.0
                layer.bias.copy_(5.0 * (layer.bias - logits.median()))
        pathway.classifier[2].weight *= 3.0
    info = PackageInfo(
        name="tiny-identifier",
        kind="pe-identifier",
        network=network.to_dict(),
        discriminator={},
        spacing_mm=3.0,
        data_origin="phantom",
    )
    write_package(folder, info, pathway.eval())


@pytest.fixture(scope="session")
def started_host() -> Iterator[Any]:
    """The running Slicer host; skips, saying why, where it cannot run."""
    import slicer_host

    if reason := slicer_host.why_not():
        pytest.skip(reason)
    slicer_host.start()
    yield slicer_host
    slicer_host.stop()


@pytest.hookimpl(wrapper=True, trylast=True)  # innermost: inside pytest's own capture
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Around a test on the host: stdout without a file, PythonSlicer as sys.executable."""
    if "started_host" not in getattr(item, "fixturenames", ()):
        return (yield)
    import slicer
    from slicer_host.console import as_in_application

    with as_in_application(Path(slicer.app.slicerHome)):
        return (yield)
