"""A model of aorta and pulmonary artery in use: both engines, files, wrong kinds, emboli inside them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from PESemiSegLib.errors import ConfigError, PackageError
from PESemiSegLib.inference.arteries import segment_within
from PESemiSegLib.inference.result import InputCheck, Result
from PESemiSegLib.inference.save import save_result
from PESemiSegLib.inference.segment import segment
from PESemiSegLib.models.package import ModelPackage, write_package
from PESemiSegLib.volumes.volume import Volume, from_array

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def arteries(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Untrained, with a head whose classes all win somewhere."""
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.networks.build import build_judge, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig

    network = NetworkConfig(width=2, architecture="unet2d", classes=3)
    judge = DiscriminatorConfig(kind="mask_only", channels=(4, 4))
    info = PackageInfo(
        name="arteries",
        network=network.to_dict(),
        discriminator=judge.to_dict(),
        spacing_mm=2.0,
        data_origin="phantom",
        kind="artery-segmenter",
    )
    segmenter = build_segmenter(network, seed=3)
    with torch.no_grad():
        segmenter.head.weight *= 100.0  # type: ignore[operator, union-attr]
        segmenter.head.bias.zero_()  # type: ignore[operator, union-attr]
    folder = tmp_path_factory.mktemp("arteries") / "arteries"
    return write_package(folder, info, segmenter, build_judge(judge, network, seed=4))


@pytest.fixture(scope="module")
def volume() -> Volume:
    hu = np.random.default_rng(0).normal(0, 300, (6, 96, 96))
    return from_array(np.clip(hu, -1024, 3000).astype(np.int16), np.diag([2.0, 2.0, 3.0, 1.0]))


@pytest.fixture(scope="module")
def result(arteries: ModelPackage, volume: Volume) -> Result:
    return segment(volume, arteries, kind="arteries", engine="torch", precision="fp32", threads=1)


def test_each_pixel_takes_its_likeliest_class(arteries: ModelPackage, volume: Volume, result: Result) -> None:
    from PESemiSegLib.models.load import load_segmenter

    image = (np.clip(volume.hu[2], -160, 240) - 40.0) / 200.0
    with torch.no_grad():
        p = load_segmenter(arteries)(torch.from_numpy(image.astype(np.float32))[None, None]).softmax(1)[0]
    assert set(np.unique(result.mask)) == {0, 1, 2}
    np.testing.assert_array_equal(result.mask[2], p.argmax(0))
    np.testing.assert_allclose(result.probability.slice(2), 1 - p[0], atol=2e-3)
    other = segment(volume, arteries, kind="arteries", engine="openvino", precision="fp32", threads=1)
    assert np.mean(other.mask != result.mask) < 1e-3


def test_findings_are_the_classes(result: Result, volume: Volume) -> None:
    assert [(f.id, f.name) for f in result.findings] == [(1, "Aorta"), (2, "Pulmonary artery")]
    for finding in result.findings:
        mine = result.mask == finding.id
        assert finding.volume_mm3 == pytest.approx(mine.sum() * volume.grid.voxel_volume_mm3)
        np.testing.assert_array_equal(result.finding_mask(finding), mine[finding.box.slices])


def test_every_file_names_the_classes(result: Result, tmp_path: Path) -> None:
    import SimpleITK as sitk

    save_result(result, tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / "segmentation.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), result.mask)
    for index, (name, code) in enumerate((("Aorta", "15825003"), ("Pulmonary artery", "81040000"))):
        assert image.GetMetaData(f"Segment{index}_Name") == name
        assert image.GetMetaData(f"Segment{index}_LabelValue") == str(index + 1)
        tags = image.GetMetaData(f"Segment{index}_Tags")
        assert f"~SCT^123037004^Anatomical Structure~SCT^{code}^{name}~^^~" in tags
        assert tags.endswith("Anatomic codes - DICOM master list~^^~^^|")
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows] == ["Aorta", "Pulmonary artery"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h1>Aorta and Pulmonary artery</h1>" in page
    assert "marked as clot" not in page
    summary = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert summary["provenance"]["model"]["marks"] == "arteries"


def test_a_model_of_another_kind_is_refused_in_one_line(
    arteries: ModelPackage, tiny_package: ModelPackage, volume: Volume
) -> None:
    for package, wanted, own in ((arteries, "emboli", "arteries"), (tiny_package, "arteries", "emboli")):
        with pytest.raises(ConfigError, match=f"marks {own}, not {wanted}: add --kind {own}"):
            segment(volume, package, kind=wanted)
    with pytest.raises(ConfigError, match="'veins' is not one of emboli, arteries"):
        segment(volume, arteries, kind="veins")


def test_a_package_whose_classes_do_not_fit_its_kind_is_refused(arteries: ModelPackage) -> None:
    from dataclasses import replace

    with pytest.raises(PackageError, match="3 classes apart"):
        replace(arteries.info, kind="pe-segmenter")


def test_emboli_are_kept_near_the_arteries_and_told_as_their_share(
    arteries: ModelPackage, tiny_package: ModelPackage, volume: Volume, result: Result, tmp_path: Path
) -> None:
    from PESemiSegLib.inference.burden import search_region

    settings: dict[str, Any] = {
        "engine": "torch",
        "precision": "fp32",
        "threads": 1,
        "threshold": 0.01,
        "min_lesion_mm3": 0.0,
    }
    shown: list[int] = []  # slices of emboli, each once, and none of the arteries
    told: list[InputCheck] = []
    found = segment_within(
        volume,
        tiny_package,
        arteries,
        slice_done=lambda box, _: shown.append(box.start[0]),
        checked=told.append,
        **settings,
    )
    assert len(told) == 1
    assert shown == list(range(found.box.start[0], found.box.stop[0]))
    alone = segment(volume, tiny_package, **settings)
    region = search_region(result.mask == 2, volume.spacing_mm)
    np.testing.assert_array_equal(found.mask, alone.mask * region)
    assert found.burden is not None
    assert found.burden.model["sha256"] == arteries.sha256
    assert found.burden.total.clot_ml == pytest.approx(found.total_volume_mm3 / 1000)
    save_result(found, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert summary["burden"]["total"]["share"] == pytest.approx(found.burden.total.share)
    assert '<h2 id="burden">Clot burden</h2>' in (tmp_path / "out" / "report.html").read_text(
        encoding="utf-8"
    )


def test_no_artery_found_is_said_and_recorded(
    arteries: ModelPackage, tiny_package: ModelPackage, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(*given: Any, **settings: Any) -> Result:
        result = segment(*given, **settings)
        result.mask[...] *= settings.get("kind") != "arteries"
        return result

    monkeypatch.setattr("PESemiSegLib.inference.arteries.segment", blind)
    settings: dict[str, Any] = {"engine": "torch", "precision": "fp32", "threads": 1}
    found = segment_within(volume, tiny_package, arteries, **settings)
    assert found.burden is None
    assert "found no pulmonary artery" in {line.code: line.text for line in found.check.problems}["no_artery"]
    assert found.provenance["artery_model"] == {"name": "arteries", "sha256": arteries.sha256}
