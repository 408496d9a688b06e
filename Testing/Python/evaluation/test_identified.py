"""The table of models that identify, against scikit-learn and by hand; which scans are asked of whom."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts import registration_fit
from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
from PESemiSegLib.cohorts.phases import NO_CONTRAST, REGISTERED
from PESemiSegLib.errors import Cancelled, InputError
from PESemiSegLib.evaluation import identified
from PESemiSegLib.evaluation.identified import IdentifiedScan, evaluate_identified
from PESemiSegLib.evaluation.identified_report import comparison_row, figures_row, write_identified
from PESemiSegLib.evaluation.store import ResultStore
from PESemiSegLib.inference import identify as identify_module
from PESemiSegLib.inference.engines.base import EngineInfo
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.models.package import read_package
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.write import write_nifti


def scans(scores, dice):
    return [
        IdentifiedScan(f"p{n}", "A", pe_free=n >= 3, score=score, dice=value, seconds=1.0)
        for n, (score, value) in enumerate(zip(scores, dice, strict=True))
    ]


NAN = math.nan
FIRST = scans([0.9, 0.4, 0.6, 0.2, 0.7, 0.1], [0.5, 0.0, 0.4, NAN, NAN, NAN])
SECOND = scans([0.9, 0.8, 0.6, 0.2, 0.3, 0.1], [0.6, 0.3, 0.4, NAN, NAN, NAN])


def test_figures_are_those_of_the_paper():
    row = figures_row(FIRST)
    assert row["sensitivity"].value == pytest.approx(2 / 3)
    assert row["specificity"].value == pytest.approx(2 / 3)
    truth = [not scan.pe_free for scan in FIRST]
    assert row["AUC"].value == pytest.approx(roc_auc_score(truth, [scan.score for scan in FIRST]))
    assert row["Dice"].value == pytest.approx(0.3)
    assert row["Dice"].patients == 3
    always = figures_row([replace(scan, score=0.9) for scan in FIRST])
    assert always["sensitivity"].low == pytest.approx(3 / (3 + 1.959964**2))  # Wilson's, of 3 of 3
    assert (always["sensitivity"].high, always["specificity"].low) == (1.0, 0.0)
    assert always["specificity"].high == pytest.approx(1.959964**2 / (3 + 1.959964**2))


def test_a_comparison_is_second_less_first():
    row = comparison_row(FIRST, SECOND)
    assert row["sensitivity"].value == pytest.approx(1 / 3)
    assert row["specificity"].value == pytest.approx(1 / 3)
    assert row["AUC"].value == pytest.approx(
        1.0 - roc_auc_score([1, 1, 1, 0, 0, 0], [s.score for s in FIRST])
    )
    assert row["Dice"].value == pytest.approx(0.4 / 3)
    assert row["p (sensitivity)"] == "1.000"  # one scan changed: nothing can be told
    same = comparison_row(FIRST, FIRST)
    assert {same[name] for name in same if name.startswith("p (")} == {"1.000"}


def package(name, phase="noncontrast"):
    network = NetworkConfig(width=2, architecture="cpmn", volume=VolumeConfig((32, 32, 32), 3.0, phase))
    what = SimpleNamespace(name="identification", marks="pulmonary embolism")
    info = SimpleNamespace(name=name, network_config=network, what=what, data_origin="phantom")
    return SimpleNamespace(info=info, sha256=name * 8)


def test_the_tables(tmp_path):
    text = write_identified(tmp_path, [package("one"), package("two")], [FIRST, SECOND])
    assert "| model | reads | scans with PE | without | sensitivity | specificity | AUC | Dice |" in text
    assert "less one" in text
    assert "p (DeLong)" in text
    assert text.startswith(f"Research use only. Not a medical device. {IDENTIFICATION.warning}\n\n| model")
    assert (tmp_path / "summary.md").read_text() == text
    listed = (tmp_path / "scans.csv").read_text()
    assert "P01" in listed
    assert "p0," not in listed
    page = (tmp_path / "evaluation.html").read_text()
    assert IDENTIFICATION.warning in page
    assert "made-up patients" in page
    assert "What the models say, scan by scan" in page
    assert ">P01<" in page
    assert ">p0<" not in page
    for picture in ("roc", "probabilities"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 1000


def case(number, **changes):
    return replace(Case(f"p{number}", "A", Path(f"{number}.nii.gz"), Path(f"{number}m.nii.gz")), **changes)


@pytest.fixture
def read_cases(monkeypatch):
    """What is read of each patient; nothing is registered or computed."""
    seen = []

    def fake(work, case, package, cancelled):
        plain = identified._phase(package) == "noncontrast"
        seen.append((case.patient, "plain" if plain else "contrast", plain and case.key in work.plain))
        return IdentifiedScan(case.patient, case.site, False, 0.5, NAN, 0.0)

    monkeypatch.setattr(identified._Work, "_identified", fake)
    monkeypatch.setattr(
        ResultStore, "of", lambda _, case, asked, how, made, *more: (tuple(made(asked)), False)
    )
    return seen


def test_all_models_are_asked_of_the_patients_with_both_scans(read_cases, tmp_path):
    twin = case(1, image=Path("1n.nii.gz"), mask=None, role="excluded", problems=(NO_CONTRAST,))
    cohort = Manifest((case(0), case(1), twin))
    (both,) = evaluate_identified(cohort, [package("n")], tmp_path)
    assert read_cases == [("p1", "plain", True)]
    assert [scan.patient for scan in both] == ["p1"]
    read_cases.clear()
    evaluate_identified(cohort, [package("n"), package("c", "contrast")], tmp_path)
    assert [entry[:2] for entry in read_cases] == [("p1", "plain"), ("p1", "contrast")]
    read_cases.clear()
    evaluate_identified(cohort, [package("c", "contrast")], tmp_path)
    assert [entry[0] for entry in read_cases] == ["p0", "p1"]
    with pytest.raises(InputError, match="no labelled patient with the scans"):
        evaluate_identified(Manifest((case(0),)), [package("n")], tmp_path)


SHAPE, MM = (30, 44, 56), 6.0


def chest(blood_hu, down=0):
    """HU int16 and clot uint8 of a chest, `down` slices lower: lungs full of vessels, a trunk with a clot."""
    z, y, x = ((np.arange(n) - (n - 1) / 2) * MM for n in SHAPE)
    z, y, x = (z + down * MM)[:, None, None], y[:, None], x
    hu = np.where((x / 150) ** 2 + (y / 118) ** 2 < 1, 30.0, -1000.0) + 0 * z
    lungs = sum(((x - side) / 50) ** 2 + (y / 78) ** 2 + (z / 72) ** 2 < 1 for side in (-68, 68)) > 0
    texture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), 1.3)
    hu[lungs] = -850
    hu[lungs & (np.roll(texture, -down, 0) > 0.13)] = blood_hu
    trunk = (x / 16) ** 2 + ((y + 20) / 16) ** 2 + (z / 36) ** 2 < 1
    clot = (x / 12) ** 2 + ((y + 20) / 12) ** 2 + (z / 18) ** 2 < 1
    hu[trunk], hu[clot] = blood_hu, 50
    noise = np.random.default_rng(int(blood_hu)).normal(0, 8, SHAPE)
    return (hu + noise).clip(-1024).astype(np.int16), clot.astype(np.uint8)


@pytest.fixture
def twins(tmp_path):
    """The pair of one patient in another breath, on disk, and the clot as it was drawn."""
    grid = Grid(SHAPE, np.diag([MM, MM, MM, 1.0]))
    (hu, clot), (plain, _) = chest(350), chest(42, down=2)
    for name, array in (("c", hu), ("m", clot), ("n", plain)):
        write_nifti(tmp_path / f"{name}.nii.gz", array, grid)
    first = Case("Doe", "A", tmp_path / "c.nii.gz", tmp_path / "m.nii.gz", split="test")
    second = replace(first, image=tmp_path / "n.nii.gz", mask=None, role="excluded", problems=(NO_CONTRAST,))
    return first, second, clot


@pytest.fixture(scope="module")
def identifier(make_tiny_identifier, tmp_path_factory):
    return make_tiny_identifier(tmp_path_factory.mktemp("identifier") / "tiny")


class FakeEngine:
    """Marks every voxel and calls PE likely; keeps the brightest that it saw of each scan, 1 is 240 HU."""

    info = EngineInfo("fake", "cpu", "none", "fp32", "0")
    seen: ClassVar[list[float]] = []

    def run(self, inputs, poll):
        self.seen.append(-1.0)
        for image in inputs:
            self.seen[-1] = max(self.seen[-1], float(image.max()))
            cells = np.ones([n // 32 for n in image.shape[1:]], np.float32)
            yield np.ones(image.shape[1:], np.float32), np.array([0.3, 0.7], np.float32), cells

    def close(self):
        pass


def test_a_pair_from_end_to_end(twins, identifier, tmp_path, monkeypatch):
    monkeypatch.setattr(identify_module, "open_engine", lambda *_, **__: FakeEngine())
    monkeypatch.setattr(registration_fit, "SAMPLES", 1500)  # quicker, and enough for a shift
    first, second, clot = twins
    reads_plain = read_package(identifier)
    network = reads_plain.info.network
    network = network | {"volume": network["volume"] | {"phase": "contrast"}}
    reads_contrast = replace(reads_plain, info=replace(reads_plain.info, network=network))
    ((plain,), (contrast,)) = evaluate_identified(
        Manifest((first, second)), [reads_plain, reads_contrast], tmp_path, whole=True, lung_filter="none"
    )
    assert len(FakeEngine.seen) == 2
    assert FakeEngine.seen[0] < 0.5  # blood of 42 HU is 0 in the window
    assert FakeEngine.seen[1] == 1.0
    assert (plain.pe_free, contrast.pe_free, plain.score) == (False, False, pytest.approx(0.7))
    (laid,) = (tmp_path / "pairs").glob("*/mask.nii.gz")
    moved = read(laid).hu
    true = np.roll(clot, -2, 0)
    assert 2 * (moved & true).sum() / (moved.sum() + true.sum()) > 0.8
    for scan, mask in ((plain, moved), (contrast, clot)):
        assert scan.dice == pytest.approx(2 * mask.sum() / (mask.sum() + mask.size), rel=1e-6)


def test_pe_is_as_it_was_drawn_and_a_stop_is_heard_while_registering(
    twins, identifier, tmp_path, monkeypatch
):
    """The clot may lie beyond the other scan: there is nothing to mark, and still PE."""
    first, second, clot = twins
    write_nifti(tmp_path / "none.nii.gz", 0 * clot, Grid(SHAPE, np.diag([MM, MM, MM, 1.0])))
    said = SimpleNamespace(pe_probability=0.2, mask=clot)
    monkeypatch.setattr(identify_module, "identify", lambda *_, **__: said)

    def lay(contrast, plain, folder, *, check):
        check()
        return SimpleNamespace(plain=replace(plain, mask=tmp_path / "none.nii.gz"))

    monkeypatch.setattr(identified, "on_one_grid", lay)
    cohort, packages = Manifest((first, second)), [read_package(identifier)]
    ((scan,),) = evaluate_identified(cohort, packages, tmp_path)
    assert not scan.pe_free
    assert math.isnan(scan.dice)
    shutil.rmtree(tmp_path / "cases")
    with pytest.raises(Cancelled):
        evaluate_identified(cohort, packages, tmp_path, cancelled=lambda: True)

    def refuse(*_, **__):
        raise InputError("cannot be read.")

    monkeypatch.setattr(identify_module, "identify", refuse)
    with pytest.raises(InputError, match=r"case 1: cannot be read. .* run again into the same folder"):
        evaluate_identified(cohort, packages, tmp_path)


def test_the_command_measures_a_model_that_identifies_once(twins, identifier, tmp_path, capsys, monkeypatch):
    first, second, _ = twins
    write_manifest(
        Manifest((first, replace(second, problems=(NO_CONTRAST, REGISTERED)))), tmp_path / "pairs.csv"
    )
    words = ["--model", str(identifier), "--manifest", str(tmp_path / "pairs.csv"), "--threads", "1"]
    assert main(["evaluate", *words, "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "| tiny-identifier |" in said.out
    assert "case 1/1: probability of PE " in said.err
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8") in said.out
    row = (tmp_path / "out" / "scans.csv").read_text().splitlines()[1].split(",")
    assert row[1:4] == ["P01", "A", "True"]
    assert not (tmp_path / "out" / "pairs").exists()  # nothing was registered again
    monkeypatch.setattr(identify_module, "identify", lambda *_, **__: pytest.fail("it was stored"))
    assert main(["evaluate", *words, "-o", str(tmp_path / "out")]) == 0
    again = capsys.readouterr().out
    assert again.split("look at")[0] == said.out.split("look at")[0]
    assert main(["evaluate", *words, "--choose", "-o", str(tmp_path / "chosen")]) == 2
    assert "probability of 0.5" in capsys.readouterr().err


def test_a_corrected_label_counts_at_once_without_a_second_look(twins, identifier, tmp_path, monkeypatch):
    first, second, clot = twins
    asked = []
    said = SimpleNamespace(pe_probability=0.2, mask=clot)
    laid = SimpleNamespace(plain=replace(second, mask=first.mask))
    monkeypatch.setattr(identify_module, "identify", lambda *_, **__: asked.append(1) or said)
    monkeypatch.setattr(identified, "on_one_grid", lambda *_, **__: laid)

    def pe_free(*cases):
        ((scan,),) = evaluate_identified(Manifest(cases), [read_package(identifier)], tmp_path)
        return scan.pe_free

    assert not pe_free(replace(first, pe="yes"), second)
    assert pe_free(replace(first, pe="no"), second)
    assert not pe_free(first, second)  # as the mask shows
    assert len(asked) == 1
    assert not pe_free(first, replace(second, problems=(NO_CONTRAST, REGISTERED)))
    assert len(asked) == 2  # the scans lie otherwise now


def test_masks_of_emboli_are_those_of_made_up_pairs(tmp_path):
    for name, contrast in (("a", True), ("b", False)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.json").write_text(
            f'{{"site": "A", "seed": 1, "patient": 3, "contrast": {str(contrast).lower()}}}'
        )
        (folder / "facts.json").write_text('{"lesions": [1], "label_style": "sharp"}')
        for file in ("ct", "clot", "lesions"):
            (folder / f"{file}.nii.gz").write_bytes(b"")
    first, second = from_phantom(tmp_path, validation=0.0, marks=IDENTIFICATION.masks)
    assert first.mask.name == "clot.nii.gz"
    assert (second.role, second.mask) == ("excluded", None)
    assert np.array_equal([c.patient for c in (first, second)], ["A-s1-p0003"] * 2)
