"""Kinds of model on the command line: what does not fit is refused in one line, before any work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.cli.segment import Kind
from PESemiSegLib.models.kinds import KINDS


def test_the_command_knows_every_kind_of_segmenter() -> None:
    segmenters = [kind.name for kind in KINDS.values() if "segmenter" in kind.parts]
    assert sorted(kind.value for kind in Kind) == sorted(segmenters)
    assert all(kind.name == kind.value for kind in Kind)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--kind", "arteries"), "No model for arteries comes with the program"),
        (("--kind", "arteries", "--model", "demo"), "marks emboli, not arteries: add --kind emboli"),
        (("--arteries", "demo"), "marks emboli, not arteries"),
        (("--kind", "arteries", "--model", "demo", "--arteries", "demo"), "marks emboli, not arteries"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_models_of_two_kinds_are_not_compared(
    make_tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import write_package
    from PESemiSegLib.networks.build import build_judge, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

    network = NetworkConfig(width=2, carafe_mid=2, classes=3)
    judge = DiscriminatorConfig(kind="mask_only", channels=(4,))
    info = PackageInfo("a", network.to_dict(), judge.to_dict(), 1.0, "phantom", kind="artery-segmenter")
    write_package(tmp_path / "a", info, build_segmenter(network, seed=1), build_judge(judge, network, seed=2))
    models = ["--model", str(tmp_path / "a"), "--model", str(make_tiny_model(tmp_path / "b", spacing_mm=1.0))]
    assert main(["evaluate", "--phantom", str(tmp_path), *models, "-o", str(tmp_path / "out")]) == 2
    assert "The models mark arteries and emboli" in capsys.readouterr().err

    from PESemiSegLib.errors import ConfigError
    from PESemiSegLib.training.finetune import settings_for

    with pytest.raises(ConfigError, match="train --base"):
        settings_for(tmp_path / "a")
    further = settings_for(tmp_path / "a", "cpu_demo", "supervised", stage="semi")
    assert (further.kind, further.network, further.sampling.classes) == ("arteries", network, 3)
