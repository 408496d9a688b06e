"""Splits: by patient, seeded, alike in sites and PE; folds that test everyone once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.splits import k_folds, split_by_patient
from PESemiSegLib.errors import ConfigError


def _manifest(patients: list[tuple[str, str]], scans: int = 1) -> Manifest:
    """patients: (site, pe) each, with so many scans."""
    return Manifest(
        tuple(
            Case(f"p{n}", site, Path(f"{n}-{scan}.nii"), role="unlabelled", pe=pe if scan == 0 else "")
            for n, (site, pe) in enumerate(patients)
            for scan in range(scans)
        )
    )


cohorts = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from(["yes", "no", ""])), min_size=3, max_size=40
)


@given(cohorts, st.integers(2, 5), st.integers(0, 9), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_folds_test_every_patient_once_and_are_alike(patients, folds, seed, scans):
    manifest = _manifest(patients, scans)
    if folds > len(patients):
        with pytest.raises(ConfigError):
            k_folds(manifest, folds)
        return
    made = k_folds(manifest, folds, seed=seed, validation=0.2)
    tested = [sorted({c.patient for c in fold.select("test")}) for fold in made]
    assert sorted(name for part in tested for name in part) == sorted(f"p{n}" for n in range(len(patients)))
    for stratum in set(patients):
        members = {f"p{n}" for n, value in enumerate(patients) if value == stratum}
        counts = [len(members & set(part)) for part in tested]
        assert max(counts) - min(counts) <= 1
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    assert [fold.cases for fold in k_folds(manifest, folds, seed=seed, validation=0.2)] == [
        fold.cases for fold in made
    ]


@given(cohorts, st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_shares_hold_in_all_and_within_one_of_every_stratum(patients, validation, test, seed):
    drawn = split_by_patient(_manifest(patients, 2), validation=validation, test=test, seed=seed)
    split = {int(case.patient[1:]): case.split for case in drawn}
    counts = Counter(split.values())
    assert abs(counts["test"] - test * len(patients)) <= 0.5
    assert abs(counts["val"] - validation * len(patients)) <= 0.5
    for stratum, size in Counter(patients).items():
        within = Counter(split[n] for n, value in enumerate(patients) if value == stratum)
        assert abs(within["test"] - test * size) < 1
        assert -1 < within["val"] - validation * size < 2  # 2 where a stratum has no room beside its test


def test_many_small_strata_share_out_what_all_of_them_owe() -> None:
    """Ten strata of three: 0.45 patients of each, which is nobody where each is rounded on its own."""
    patients = [(f"site {n}", pe) for n in range(5) for pe in ("yes", "no")] * 3
    drawn = [split_by_patient(_manifest(patients), validation=0.15, test=0.15, seed=s) for s in range(20)]
    for manifest in drawn:
        assert Counter(c.split for c in manifest) == {"train": 22, "val": 4, "test": 4}
        held_out = Counter((c.site, c.pe) for c in manifest if c.split != "train")
        assert max(held_out.values()) == 1  # eight of the ten strata, none of them twice
    assert len({(c.site, c.pe) for manifest in drawn for c in manifest.select("test")}) == 10


def test_a_share_that_is_nobody_is_said(caplog: pytest.LogCaptureFixture) -> None:
    split_by_patient(_manifest([("A", "yes")] * 3), validation=0.15, test=0.34)
    assert [record.message for record in caplog.records] == [
        "15 % of 3 patients is nobody: the split val is empty"
    ]


def test_another_seed_is_another_split_and_excluded_cases_stay() -> None:
    manifest = _manifest([("A", "yes")] * 20)
    out = Case("q", "A", Path("q.nii"), role="excluded", split="test")
    manifest = Manifest((*manifest.cases, out))
    one, same, other = (split_by_patient(manifest, validation=0.2, test=0.2, seed=s) for s in (1, 1, 2))
    assert one == same != other
    assert one.cases[-1] == out


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    pe = np.array(["yes"] * 13 + ["no"] * 7)
    reference = model_selection.StratifiedKFold(5, shuffle=True, random_state=0).split(pe, pe)
    theirs = sorted(int((pe[test] == "yes").sum()) for _, test in reference)
    folds = k_folds(_manifest([("A", value) for value in pe]), 5)
    assert sorted(sum(c.pe == "yes" for c in fold.select("test")) for fold in folds) == theirs
