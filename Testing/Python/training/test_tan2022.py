"""The artery model of Tan et al. from made-up patients to its table, by the commands; minutes long."""

import json
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_small_preset_learns_aorta_and_pulmonary_artery(tmp_path: Path) -> None:
    hospital, run, tables = tmp_path / "A", tmp_path / "run", tmp_path / "tables"
    made = ["--site", "A", "--patients", "3", "--seed", "5", "--preset", "ci", "--format", "nifti"]
    assert main(["phantom", *made, "-o", str(hospital)]) == 0
    settings = ["--preset", "tan2022_small", "--iterations", "400", "--name", "arteries"]
    assert main(["train", "--phantom", str(hospital), *settings, "-o", str(run)]) == 0
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "aorta and pulmonary artery" in card
    assert "U-Net width 12" in card
    measured = ["--model", str(run / "model"), "-o", str(tables)]
    assert main(["evaluate", "--phantom", str(hospital), *measured]) == 0
    rows = json.loads((tables / "evaluation.json").read_text(encoding="utf-8"))["summary"].popitem()[1]
    assert [row["class"] for row in rows] == ["Aorta", "Pulmonary artery", "mean"]
    assert rows[-1]["Dice"]["value"] > 0.5
    assert rows[-1]["Specificity"]["value"] > 0.98
