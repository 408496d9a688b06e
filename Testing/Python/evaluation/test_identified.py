"""The table of models that identify, against scikit-learn and by hand; which scans are asked of whom."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation import identified
from PESemiSegLib.evaluation.identified import IdentifiedScan, evaluate_identified
from PESemiSegLib.evaluation.identified_tables import comparison_row, figures_row, write_identified
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig

NO_CONTRAST = "without contrast, and in another breath than its mask: no CTPA"


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
    return SimpleNamespace(info=SimpleNamespace(name=name, network_config=network), sha256=name * 8)


def test_the_tables(tmp_path):
    text = write_identified(tmp_path, [package("one"), package("two")], [FIRST, SECOND])
    assert "| model | reads | scans with PE | without | sensitivity | specificity | AUC | Dice |" in text
    assert "less one (oneone)" in text
    assert "p (DeLong)" in text
    assert text.startswith(f"Research use only. Not a medical device. {IDENTIFICATION.warning}\n\n| model")
    assert (tmp_path / "summary.md").read_text() == text
    listed = (tmp_path / "scans.csv").read_text()
    assert "P01" in listed
    assert "p0," not in listed


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
    first, second = from_phantom(tmp_path, validation=0.0, kind="identification")
    assert first.mask.name == "clot.nii.gz"
    assert (second.role, second.mask) == ("excluded", None)
    assert np.array_equal([c.patient for c in (first, second)], ["A-s1-p0003"] * 2)
