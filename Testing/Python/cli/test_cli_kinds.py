"""Kinds of model on the command line: what does not fit is refused in one line, before any work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.cli.segment import Kind
from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
from PESemiSegLib.models.kinds import IDENTIFICATION, KINDS
from PESemiSegLib.volumes.segments import LABELS

DEMO = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "demo"


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


def test_models_of_two_kinds_are_not_compared_and_each_is_adapted_as_its_kind_is(
    make_tiny_model: Callable[..., Path],
    make_tiny_identifier: Callable[[Path], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
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
    from PESemiSegLib.training.presets import preset

    with pytest.raises(ConfigError, match="train --base"):
        settings_for(make_tiny_identifier(tmp_path / "i"))
    adapting = settings_for(tmp_path / "a", "tan2022_small")
    whole = preset("tan2022_small")
    assert (adapting.kind, adapting.network) == ("arteries", network)
    assert adapting.iterations == whole.iterations / 2
    assert adapting.segmenter_optimiser.lr == whole.segmenter_optimiser.lr / 4
    further = settings_for(tmp_path / "a", "cpu_demo", "supervised", stage="semi")
    assert (further.kind, further.network, further.sampling.classes) == ("arteries", network, 3)


def test_every_set_of_labels_is_a_kind_and_identification_learns_from_emboli() -> None:
    assert {kind.name for kind in KINDS.values() if kind.masks == kind.name} == set(LABELS)
    assert IDENTIFICATION.masks == "emboli"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """`emboli.csv`, `opacities.csv` and a scan in `new`; what the images hold is never looked at."""
    for marks in ("emboli", "opacities"):
        paths = [tmp_path / f"{marks}{n}.nii.gz" for n in (1, 2)]
        for path in paths:
            path.write_bytes(path.name.encode())
        write_manifest(Manifest((Case("p", "A", *paths, marks=marks),)), tmp_path / f"{marks}.csv")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "ct.nii.gz").write_bytes(b"new")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train --manifest {0}/opacities.csv", "whose masks mark opacities, and masks of emboli are"),
        ("train --manifest {0}/emboli.csv --preset tan2022_small", "mark emboli, and masks of arteries are"),
        (
            "train --manifest {0}/emboli.csv --unlabelled {0}/new --preset unet_pl_small",
            "mark emboli, and masks of opacities are",
        ),
        (
            f"evaluate --manifest {{0}}/opacities.csv --split all --model {DEMO}",
            "mark opacities, and masks of",
        ),
        (
            f"evaluate --choose --manifest {{0}}/opacities.csv --split train --model {DEMO}",
            "mark opacities, and masks of",
        ),
        (
            f"evaluate --manifest {{0}}/emboli.csv --split test --model {DEMO}",
            "no labelled case to be measured",
        ),
        (
            "finetune --base demo --labelled {0}/opacities.csv --unlabelled {0}/new",
            "mark opacities, and masks of emboli are",
        ),
        ("train --base demo --manifest {0}/opacities.csv", "mark opacities, and masks of emboli are"),
        (
            f"finetune --dry-run --base {DEMO} --labelled {{0}}/opacities.csv --unlabelled {{0}}/new",
            "mark opacities, and masks of emboli are",
        ),
    ],
)
def test_masks_of_another_kind_are_refused_and_nothing_is_left(
    words: str, told: str, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    assert main([*words.format(tables).split(), "-o", str(tables / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert not (tables / "out").exists()


def test_made_up_patients_that_cannot_be_trained_on_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    patient = tmp_path / "phantom" / "A-s1-p0000"
    patient.mkdir(parents=True)
    (patient / "recipe.json").write_text(json.dumps({"site": "A", "seed": 1, "patient": 0}))
    (patient / "facts.json").write_text(json.dumps({"lesions": []}))
    for name in ("ct", "clot", "lesions"):
        (patient / f"{name}.nii.gz").write_bytes(name.encode())
    words = ["train", "--phantom", str(tmp_path / "phantom"), "-o", str(tmp_path / "out")]
    assert main([*words, "--strategy", "mean_teacher"]) == 2
    assert "mean_teacher learns from unlabelled scans" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--resume"]) == 2
    assert "no checkpoint to resume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
