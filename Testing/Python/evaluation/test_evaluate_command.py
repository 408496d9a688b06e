"""The whole walk on small chests with the demo model: page, tables, going on, several at once, no names."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.evaluate import evaluate
from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest, write_manifest
from PESemiSegLib.errors import Cancelled, ConfigError, InputError, OutputError
from PESemiSegLib.evaluation import tables, verdict
from PESemiSegLib.evaluation.agreement import agreement_of
from PESemiSegLib.evaluation.evaluate import evaluate_cases, evaluate_models
from PESemiSegLib.evaluation.verdict import compare
from PESemiSegLib.inference import lung_filter
from PESemiSegLib.inference import segment as segment_module
from PESemiSegLib.models.package import read_package
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.write import write_nifti

DEMO = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "demo"
SPACING_MM = 3.0
CHOOSE = ("--choose", "--model", str(DEMO), "-o", "choice")


def _chest(clots: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body, two lungs with a vessel in each, and clots in them if wanted."""
    zz, yy, xx = np.mgrid[:8, :48, :56]
    hu = np.full(zz.shape, -1000.0)
    hu[((yy - 24) / 20) ** 2 + ((xx - 28) / 26) ** 2 < 1] = 40
    mask = np.zeros(zz.shape, np.uint8)
    for x0 in (15, 41):
        hu[((yy - 24) / 14) ** 2 + ((xx - x0) / 9) ** 2 + ((zz - 4) / 5.5) ** 2 < 1] = -850
        hu[(np.hypot(yy - 24, xx - x0) < 3) & (zz > 0) & (zz < 7)] = 350
        if clots:
            mask[(np.hypot(yy - 24, xx - x0) < 2) & (abs(zz - 4) < 2)] = 1
    hu[mask > 0] = 40
    return (hu + np.random.default_rng(seed).normal(0, 10, hu.shape)).astype(np.int16), mask


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled scans, one of them without PE, and one unlabelled."""
    folder = tmp_path_factory.mktemp("cohort")
    cases = []
    for number, (clots, split) in enumerate([(True, "test"), (False, "test"), (True, "val")]):
        hu, mask = _chest(clots, number)
        for name, array in (("ct", hu), ("mask", mask)):
            write_nifti(
                folder / f"{name}{number}.nii.gz", array, Grid(array.shape, np.diag([SPACING_MM] * 3 + [1.0]))
            )
        role = "labelled" if split == "test" else "unlabelled"
        cases.append(
            Case(
                f"Doe-$Jane_{number}_$",  # to matplotlib a formula, and a wrong one
                "A",
                folder / f"ct{number}.nii.gz",
                folder / f"mask{number}.nii.gz" if role == "labelled" else None,
                role,
                split,
            )
        )
    write_manifest(Manifest(tuple(cases)), folder / "m.csv")
    return folder / "m.csv"


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model under another name, with a low threshold."""
    folder = tmp_path_factory.mktemp("models") / "eager"
    shutil.copytree(DEMO, folder)
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(
        json.dumps(info | {"name": "eager", "threshold": 0.05, "core_threshold": None})
    )
    return folder


@pytest.fixture(scope="module")
def finished(manifest: Path, eager: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One evaluation of two models; not to be changed."""
    folder = tmp_path_factory.mktemp("out") / "evaluation"
    evaluate([str(DEMO), str(eager)], folder, manifest=manifest, threads=1)
    return folder


def test_page_and_tables_are_there_and_name_nobody(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {
        "evaluation.html",
        "evaluation.json",
        "patients.csv",
        "emboli.csv",
        "summary.csv",
        "summary.md",
    } <= names
    assert {"paper_compat.csv", "comparisons.csv", "froc.csv", "roc.csv", "froc.png", "patients.svg"} <= names
    assert not [name for name in names if name.endswith(".part")]
    for path in finished.rglob("*"):
        if path.is_file():
            assert b"Doe" not in path.read_bytes(), path.name
    page = (finished / "evaluation.html").read_text(encoding="utf-8")
    assert "Research use only" in page
    assert 'src="http' not in page
    assert "href=" not in page
    assert "not counted as 1 and not as 0" in " ".join(page.split())
    rows = list(csv.DictReader((finished / "patients.csv").open()))
    assert [(row["model"], row["patient"]) for row in rows] == [
        ("demo", "P01"), ("demo", "P02"), ("eager", "P01"), ("eager", "P02"),
    ]  # fmt: skip
    record = json.loads((finished / "evaluation.json").read_text())
    assert record["sites"]["demo"]["A"]["scans_without_pe"] == 1
    assert record["comparisons"][0]["verdict"] == "no difference shown"


def test_the_operating_point_that_is_chosen_gives_the_figures_it_was_chosen_for(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["evaluate", *CHOOSE, "--manifest", str(manifest), "--split", "test"]) == 2
    held_out = [replace(case, split="val") for case in read_manifest(manifest).select("test")]
    manifest = tmp_path / "val.csv"
    write_manifest(held_out, manifest)
    hulls: list[object] = []
    monkeypatch.setattr(
        lung_filter, "_hull", lambda lungs, hull=lung_filter._hull: hulls.append(1) or hull(lungs)
    )
    evaluate([str(DEMO)], tmp_path / "choice", manifest=manifest, choose=True, threads=1)
    chosen = json.loads((tmp_path / "choice" / "chosen.json").read_text())
    said = capsys.readouterr().err.split("pesemiseg ")[-1].split()
    assert said[:3] == ["models", "amend", str(DEMO)]
    assert main([word.replace("NEW", str(tmp_path / "new")) for word in said]) == 0
    info = read_package(tmp_path / "new").info
    assert (info.threshold, info.min_lesion_mm3) == (chosen["threshold"], chosen["min_lesion_mm3"])
    assert (info.core_threshold or info.threshold) == chosen["core_threshold"]
    rows = list(csv.DictReader((tmp_path / "choice" / "operating_points.csv").open()))
    assert len(rows) == 238
    cored = next(row for row in rows if (row["threshold"], row["core_threshold"]) == ("0.3", "0.95"))
    cases = read_manifest(manifest).select("val")
    for row in (chosen, cored):
        point = {name: float(row[name]) for name in ("threshold", "core_threshold", "min_lesion_mm3")}
        with_pe, without = evaluate_cases(cases, read_package(DEMO), threads=1, **point)
        assert with_pe.overlap.dice == pytest.approx(float(row["dice"]), abs=0.01)  # 16 bits of probability
        found = with_pe.lesions.found / len(with_pe.lesions.lesions)
        assert found == pytest.approx(float(row["lesion_sensitivity"]))
        false = (with_pe.lesions.false_marks + without.lesions.false_marks) / 2
        assert false == pytest.approx(float(row["false_marks_per_scan"]))
    assert len(hulls) == 6  # one for each scan that was segmented


def test_stored_results_are_reused_until_something_changes(
    finished: Path, manifest: Path, eager: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    calls = []

    def refuse(volume, package, **settings):  # type: ignore[no-untyped-def]
        calls.append(package.info.name)
        raise InputError("segmented anew")

    monkeypatch.setattr(segment_module, "segment", refuse)
    evaluate([str(DEMO), str(eager)], folder, manifest=manifest, threads=2, identify=True)
    assert calls == []
    assert (folder / "evaluation.json").read_text().count("Doe-$Jane_0_$") == 2
    assert "<!-- Doe-$Jane_0_$ -->" in (folder / "patients.svg").read_text()
    with pytest.raises(
        InputError,
        match=r"2 of 2 cases cannot be measured. case 1: segmented anew; case 2.*not computed anew",
    ):
        evaluate([str(DEMO)], folder, manifest=manifest, min_overlap=0.5)
    cases = list(read_manifest(manifest).select("test"))
    other = tmp_path / "mask.nii.gz"
    hu, mask = _chest(True, 0)
    mask[0, 0, 0] = 1
    write_nifti(other, mask, Grid(hu.shape, np.diag([SPACING_MM] * 3 + [1.0])))
    changed = [replace(cases[0], mask=other), cases[1]]
    with pytest.raises(InputError, match="1 of 2 cases"):
        evaluate_models(changed, [read_package(DEMO)], folder=folder / "cases", precision="auto")


def test_several_at_once_give_the_same(finished: Path, manifest: Path, tmp_path: Path) -> None:
    evaluate([str(DEMO)], tmp_path / "two", manifest=manifest, jobs=2, threads=1)
    together = json.loads((tmp_path / "two" / "evaluation.json").read_text())["patients"]
    alone = json.loads((finished / "evaluation.json").read_text())["patients"][:2]
    for entry in (*together, *alone):
        del entry["seconds"]
    assert together == alone
    assert not (tmp_path / "two" / "comparisons.csv").exists()


def test_without_labels_agreement_is_told_and_no_verdict(manifest: Path, eager: Path) -> None:
    cases = read_manifest(manifest).select("val")
    told = compare(read_package(DEMO), read_package(eager), cases, threads=1)
    assert told.word == "no labels"
    assert "no verdict" in str(told)
    assert json.dumps(told.to_dict(), default=str).count("Doe") == 0


def test_two_models_without_labels_are_named_and_the_page_of_before_goes(
    manifest: Path, eager: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scans themselves are compared by the test above."""
    marks = np.zeros((2, 4, 4))
    marks[0, 1:3, 1:3] = 1
    found = [agreement_of(marks, marks * 0, 10.0, ("Doe", "A"))]
    monkeypatch.setattr(verdict, "agreements", lambda *_, **__: found)
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("evaluation.html", "patients.csv", "froc.svg", "notes.html"):
        (folder / name).write_text("of before")
    evaluate([str(DEMO), str(eager)], folder, manifest=manifest, split="val")
    assert {path.name for path in folder.iterdir()} == {"agreement.json", "notes.html"}
    record = json.loads((folder / "agreement.json").read_text())
    shas = [read_package(path).sha256 for path in (DEMO, eager)]
    models = zip(("demo", "eager"), shas, strict=True)
    assert record["models"] == [{"name": name, "sha256": sha} for name, sha in models]
    assert "1.0 marks per scan with demo, 0.0 with eager; 0.04 ml marked with demo" in record["sentences"][1]
    assert "before" not in " ".join(record["sentences"])


def test_a_folder_that_takes_no_file_is_refused_before_the_work(
    manifest: Path, eager: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "agreements", lambda *_, **__: pytest.fail("the work was done"))
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir()
    models = [str(DEMO), str(eager)]
    with pytest.raises(OutputError, match="file cannot be made"):
        evaluate(models, tmp_path / "file", manifest=manifest, split="val")
    monkeypatch.setattr(tables.os, "access", lambda path, mode: Path(path).name != "locked")
    with pytest.raises(OutputError, match="locked cannot be written to"):
        evaluate(models, tmp_path / "locked", manifest=manifest, split="val")


def test_the_manifest_is_not_taken_for_a_table_of_before(manifest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "patients.csv"
    write_manifest(read_manifest(manifest), copy)
    text = copy.read_text()
    with pytest.raises(InputError, match=r"patients.csv is the name of a table"):
        evaluate([str(DEMO)], tmp_path, manifest=copy, split="val")
    assert copy.read_text() == text


def test_in_a_cross_validation_each_patient_is_read_by_the_model_that_has_not_seen_him(
    manifest: Path, eager: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two folds, whose models differ in their threshold; several processes, too."""
    known = [case for case in read_manifest(manifest) if case.role == "labelled"]
    for number, own in enumerate(known, start=1):
        split = [replace(case, split="test" if case is own else "train") for case in known]
        (tmp_path / "folds").mkdir(exist_ok=True)
        write_manifest(Manifest(tuple(split)), tmp_path / "folds" / f"fold{number}.csv")
    for number, source in ((1, DEMO), (2, eager)):
        shutil.copytree(source, tmp_path / f"run{number}" / "model")
    words = ["--folds", str(tmp_path / "folds"), "--threads", "1", "--precision", "fp32"]
    one = ["--model", str(tmp_path / "run{}" / "model"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *words, *one, "--jobs", "2"]) == 0
    page = (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")
    assert "2, each patient by the model that has not seen him" in page
    rows = list(csv.DictReader((tmp_path / "out" / "patients.csv").open()))
    assert [row["patient"] for row in rows] == ["P01", "P02"]
    for row, case, model in zip(rows, known, (DEMO, eager), strict=True):
        (alone,) = evaluate_cases([case], read_package(model), threads=1, precision="fp32")
        assert float(row["predicted_ml"]) == pytest.approx(alone.overlap.predicted_ml)
    (first,) = evaluate_cases([known[1]], read_package(DEMO), threads=1, precision="fp32")
    assert float(rows[1]["predicted_ml"]) != pytest.approx(first.overlap.predicted_ml)
    for wrong, told in (
        (["--model", str(DEMO), *words], "holds {} for the fold's number"),
        ([*one[:2], *words, "--manifest", str(manifest)], "its own patients"),
        ([*one[:2], "--folds", str(tmp_path)], "holds no fold1.csv"),
    ):
        assert main(["evaluate", *wrong, "-o", str(tmp_path / "no")]) == 2
        assert told in " ".join(capsys.readouterr().err.split())


def test_bad_input_is_said_and_a_stop_stops(manifest: Path, tmp_path: Path) -> None:
    cases = read_manifest(manifest).select("test")
    with pytest.raises(Cancelled):
        evaluate_models(cases, [read_package(DEMO)], cancelled=lambda: True)
    with pytest.raises(ConfigError, match="jobs 0"):
        evaluate_models(cases, [read_package(DEMO)], jobs=0)
    with pytest.raises(ConfigError, match="given twice"):
        evaluate([str(DEMO), str(DEMO)], tmp_path, manifest=manifest)
    with pytest.raises(ConfigError, match="split 'tset'"):
        evaluate([str(DEMO)], tmp_path, manifest=manifest, split="tset")
    with pytest.raises(InputError, match="no labelled case"):
        evaluate([str(DEMO)], tmp_path, manifest=manifest, split="val")
