"""A StitchNet model in use: its graph, the styles of a slice, the filled lungs, the picture, the refusals."""

from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.inference.styles import Styles, find_styles
from PESemiSegLib.models.kinds import OPACITIES
from PESemiSegLib.models.package import ModelPackage, write_package
from PESemiSegLib.volumes.write import write_nifti

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def stitchnet(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Untrained, with norms that have seen something and a head whose classes all win somewhere."""
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.networks.build import build_judge, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
    from PESemiSegLib.networks.ladder import GaussianMap

    network = NetworkConfig(width=4, architecture="stitchnet", classes=4)
    judge = DiscriminatorConfig(channels=(4, 4))
    info = PackageInfo(
        name="stitchnet",
        network=network.to_dict(),
        discriminator=judge.to_dict(),
        spacing_mm=3.0,
        hu_window=(-1000.0, 200.0),
        data_origin="phantom",
        kind=OPACITIES.package,
    )
    segmenter = build_segmenter(network, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in segmenter.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            if isinstance(module, GaussianMap):  # latents that say something
                module.mean[-1].weight.mul_(300.0)  # type: ignore[operator, union-attr]
        image = torch.rand(1, 1, 96, 128, generator=generator) * 2 - 1
        halves = segmenter.eval().features(image).mean((0, 2, 3)).chunk(2)
        for layer, middle in zip((segmenter.head.tissue, segmenter.head.lung), halves, strict=True):  # type: ignore[union-attr]
            layer.weight.mul_(3000.0)  # type: ignore[operator, union-attr]
            layer.bias.copy_(-layer.weight[..., 0, 0] @ middle)  # type: ignore[operator, union-attr]
    folder = tmp_path_factory.mktemp("stitchnet") / "stitchnet"
    return write_package(folder, info, segmenter, build_judge(judge, network, seed=4))


def test_the_graph_computes_what_the_network_does(stitchnet: ModelPackage) -> None:
    """At sizes that are no multiple of 32, too."""
    import openvino

    from PESemiSegLib.models.load import load_segmenter

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    run = openvino.Core().compile_model(str(stitchnet.file("segmenter.onnx")), "CPU", options)
    network = load_segmenter(stitchnet).double()
    for shape in ((1, 1, 48, 80), (2, 1, 64, 32)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        with torch.no_grad():
            logits, features = network.forward_features(image.double())
        found = run({"image": image.numpy()})
        for name, expected in (("logits", logits), ("features", features)):
            scale = max(1.0, float(expected.abs().max()))
            np.testing.assert_allclose(found[name], expected.numpy(), atol=2e-5 * scale, rtol=0)


def test_the_slice_with_most_lung_is_read(stitchnet: ModelPackage, make_chest) -> None:
    chest = make_chest()
    styles = find_styles(chest.volume, stitchnet)
    areas = chest.lungs.sum((1, 2))
    assert areas[styles.index] > 0.98 * areas.max()
    assert styles.styles.shape == (4, *styles.image.shape)
    assert styles.labels.shape == styles.image.shape
    assert np.abs(styles.styles).max() <= 1
    again = find_styles(chest.volume, stitchnet, styles.index)
    np.testing.assert_array_equal(again.styles, styles.styles)


def test_lungs_are_filled_and_what_lies_outside_stays() -> None:
    image, styles = np.zeros((2, 2), np.float32), np.stack([np.full((2, 2), n / 10) for n in range(4)])
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    filled = Styles(7, image, labels, styles).filled(2)
    np.testing.assert_allclose(filled, [[0.0, 0.2], [0.2, 0.2]])


def test_the_command_writes_a_picture_and_refuses_in_one_line(
    stitchnet: ModelPackage, make_chest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    volume = make_chest().volume
    scan, picture = tmp_path / "ct.nii.gz", tmp_path / "styles.png"
    write_nifti(scan, volume.hu, volume.grid)
    given = ["models", "styles", str(stitchnet.path), str(scan), "-o", str(picture)]
    assert main([*given, "--slice", "40"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "slice 40" in capsys.readouterr().out
    picture.unlink()
    assert main([*given, "--slice", "81"]) == 2
    assert "has 80" in capsys.readouterr().err
    assert not picture.exists()


def test_other_models_have_no_styles(tiny_package: ModelPackage, make_chest) -> None:
    with pytest.raises(ConfigError, match="no styles"):
        find_styles(make_chest().volume, tiny_package)
