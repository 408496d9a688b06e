"""A drawn chest with known lungs and arteries, and a tiny model package, shared by the tests of inference."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.models.package import ModelPackage
from PESemiSegLib.volumes.volume import Volume, from_array

SPACING_MM = (2.0, 2.0, 3.0)  # x, y, z


@dataclass
class Chest:
    """A chest of ellipsoids (z ascending, x to the left) with the masks of what it is made of."""

    hu: np.ndarray
    lungs: np.ndarray
    trunk: np.ndarray  # pulmonary trunk and both main arteries
    vessels: np.ndarray  # peripheral arteries within the lungs
    spacing_mm: tuple[float, float, float]
    volume: Volume = field(init=False)

    def __post_init__(self) -> None:
        self.volume = from_array(self.hu, np.diag([*self.spacing_mm, 1.0]))


@lru_cache(maxsize=8)
def draw_chest(
    *,
    shape: tuple[int, int, int] = (80, 160, 192),
    spacing_mm: tuple[float, float, float] = SPACING_MM,
    blood_hu: float = 350.0,
    noise_hu: float = 15.0,
    missing: str = "",
    couch: bool = True,
    bowel_gas: bool = True,
    seed: int = 0,
) -> Chest:
    """Draw a chest; `missing` "left" or "right" makes that lung opaque."""
    nz, ny, nx = shape
    x_mm, y_mm, z_mm = spacing_mm
    z = ((np.arange(nz, dtype=np.float32) - nz / 2) * z_mm)[:, None, None]
    y = ((np.arange(ny, dtype=np.float32) - ny / 2) * y_mm)[None, :, None]
    x = ((np.arange(nx, dtype=np.float32) - nx / 2) * x_mm)[None, None, :]
    # Sizes follow the drawing's height, so that every shape shows a whole chest.
    top = nz * z_mm / 2
    body = (x / 170) ** 2 + (y / 115) ** 2 + 0 * z < 1
    hu = np.where(body, np.float32(40), np.float32(-1000))
    hu[((x / 160) ** 2 + (y / 105) ** 2 + 0 * z > 1) & body] = -90  # fat under the skin
    lungs = np.zeros(shape, dtype=bool)
    for side, sign in (("right", -1), ("left", 1)):
        # Flat at the bottom, where the diaphragm lies.
        lung = (((x - sign * 80) / 55) ** 2 + (y / 85) ** 2 + (z / (top * 0.85)) ** 2 < 1) & (z > -top * 0.6)
        lungs |= lung & (missing != side)
    hu[lungs] = -850
    spine = (x / 20) ** 2 + ((y - 75) / 20) ** 2 + 0 * z < 1
    hu[spine & ~lungs] = 150
    carina = top * 0.35
    trachea = (x / 9) ** 2 + ((y - 25) / 9) ** 2 < 1
    hu[trachea & (z > carina)] = -1000
    bronchi = (((y - 25) / 6) ** 2 + ((z - carina) / 6) ** 2 + 0 * x < 1) & (np.abs(x) < 45)
    hu[bronchi & ~lungs] = -1000  # they join the windpipe to the lungs
    trunk = (((x - 22) / 14) ** 2 + ((y + 20) / 14) ** 2 < 1) & (np.abs(z - carina + 32) < 22)
    trunk = trunk | (((y + 2) / 9) ** 2 + ((z - carina + 14) / 9) ** 2 + 0 * x < 1) & (np.abs(x) < 55)
    hu[trunk] = blood_hu
    vessels = np.zeros(shape, dtype=bool)
    for dy in (-45, 0, 45):
        tube = ((y - dy) / 3.5) ** 2 + (z / 4.5) ** 2 + 0 * x < 1
        vessels |= tube & lungs & (np.abs(x) > 45) & (np.abs(x) < 120)
    hu[vessels] = blood_hu
    if bowel_gas:
        bubble = ((x - 60) / 25) ** 2 + ((y + 60) / 20) ** 2 + ((z + top * 0.85) / (top * 0.1)) ** 2 < 1
        hu[bubble & ~lungs] = -1000
    if couch:
        hu[:, ny - 9 : ny - 7, 20:-20] = 100
        hu[:, ny - 7 : ny - 3, 20:-20] = -950
    rng = np.random.default_rng(seed)
    hu += rng.standard_normal(shape, dtype=np.float32) * noise_hu
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return Chest(hu, lungs, trunk, vessels, spacing_mm)


@pytest.fixture(scope="session")
def make_chest() -> Callable[..., Chest]:
    return draw_chest


@pytest.fixture(scope="session")
def chest() -> Chest:
    return draw_chest()


@pytest.fixture(scope="session")
def read_real(shared_data: Path) -> Callable[[str], Volume]:
    """Read a real scan by its name below; skips where the folder of real scans is absent."""
    import zipfile

    from PESemiSegLib.volumes.reader import read

    def real(name: str) -> Volume:
        if name == "lidc":
            folder = tmp / "lidc"
            if not folder.exists():
                with zipfile.ZipFile(shared_data / "lidc0314_chest_noncontrast/series.zip") as archive:
                    archive.extractall(folder)
            return read(folder)
        return read(shared_data / paths[name])

    import tempfile

    paths = {
        "crop": "ts_pulmonary_crop/ct_cropped.nii.gz",
        "tiny": "cip_ct64/ct-64.nrrd",
        "two": "lungmask_cta_2slices/series",
        "abdomen": "ts_dicom_j2k_nouid/series",
    }
    with tempfile.TemporaryDirectory() as made:
        tmp = Path(made)
        yield real


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return make_package(tmp_path_factory.mktemp("packages") / "tiny")


@pytest.fixture(scope="session")
def context_package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return make_package(tmp_path_factory.mktemp("packages") / "context", context=3)


def make_package(folder: Path, *, context: int = 1, width: int = 8, spacing_mm: float = 2.0) -> ModelPackage:
    """A package with random weights, calibrated batch norms and a threshold that marks some pixels."""
    torch = pytest.importorskip("torch")
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import write_package
    from PESemiSegLib.networks.build import build_discriminator, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

    network = NetworkConfig(width=width, depth="small", context=context)
    segmenter = build_segmenter(network, seed=1)
    segmenter.head[-1].bias.data.zero_()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(3):
            segmenter(torch.randn(2, context, 64, 64, generator=generator))
    judge = DiscriminatorConfig()
    info = PackageInfo(
        name=folder.name,
        network=network.to_dict(),
        discriminator=judge.to_dict(),
        spacing_mm=spacing_mm,
        data_origin="phantom",
        context=context,
    )
    discriminator = build_discriminator(judge, network.feature_channels, seed=3)
    return write_package(folder, info, segmenter.eval(), discriminator.eval())
