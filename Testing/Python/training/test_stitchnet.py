"""StitchNet from made-up patients to its table and its pictures, by the commands; minutes long."""

import json
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.labelmap import read_on_grid
from PESemiSegLib.inference.styles import find_styles
from PESemiSegLib.models.package import read_package
from PESemiSegLib.phantom.cohort import recipes
from PESemiSegLib.phantom.patient import make_case
from PESemiSegLib.phantom.write import write_case
from PESemiSegLib.volumes.reader import read

pytest.importorskip("torch")


def _made(folder: Path, patients: int, seed: int, *options: str) -> str:
    wanted = ["--site", "A", "--patients", str(patients), "--seed", str(seed), "--preset", "ci"]
    assert main(["phantom", *wanted, "--format", "nifti", *options, "-o", str(folder)]) == 0
    return str(folder)


def _healthy(folder: Path, patients: int, seed: int) -> str:
    """Clean lungs: patients made without opacities may still have pneumonia or atelectasis."""
    for recipe in recipes("A", patients, seed, "ci", opacities="none"):
        write_case(make_case(recipe), folder / recipe.name, "nifti")
    return str(folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_small_preset_learns_labels_and_styles(tmp_path: Path) -> None:
    labelled = _made(tmp_path / "labelled", 3, 5, "--opacities")
    pool = _made(tmp_path / "pool", 2, 9, "--opacities")
    healthy, cohort, both = (tmp_path / f"{name}.csv" for name in ("healthy", "cohort", "both"))
    assert main(["cohort", "healthy", _healthy(tmp_path / "H", 1, 7), "-o", str(healthy)]) == 0
    assert main(["cohort", "make", labelled, "--kind", "opacities", "-o", str(cohort)]) == 0
    assert main(["cohort", "merge", str(cohort), str(healthy), "-o", str(both)]) == 0
    run, tables, picture = tmp_path / "run", tmp_path / "tables", tmp_path / "styles.png"
    settings = ["--preset", "stitchnet_beta_small", "--iterations", "600", "--name", "stitchnet"]
    data = ["--manifest", str(both), "--unlabelled", pool]
    assert main(["train", *data, *settings, "-o", str(run)]) == 0
    record = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    figures = [event["figures"] for event in record if event["kind"] == "health"]
    assert figures[-1]["L_x"] < figures[0]["L_x"]
    assert {"styles_apart_unlabelled", "kl_k_unlabelled", "class_1_unlabelled"} <= figures[-1].keys()
    model = str(run / "model")
    assert main(["evaluate", "--phantom", labelled, "--model", model, "-o", str(tables)]) == 0
    rows = json.loads((tables / "evaluation.json").read_text(encoding="utf-8"))["summary"].popitem()[1]
    found = {row["class"]: row["Dice"]["value"] for row in rows}
    assert found["Healthy lung"] > 0.85
    patient = next(path for path in sorted(Path(labelled).iterdir()) if (path / "ct.nii.gz").exists())
    scan = read(patient / "ct.nii.gz")
    assert main(["models", "styles", model, str(patient / "ct.nii.gz"), "-o", str(picture)]) == 0
    assert picture.stat().st_size > 10_000
    styles, truth = find_styles(scan, read_package(model)), read_on_grid(patient / "opacities.nii.gz", scan)
    assert truth[styles.index].any()
    lung = styles.labels > 0
    haze, healthy_lung = (np.mean(styles.styles[n][lung]) for n in (1, 3))
    assert haze > healthy_lung
