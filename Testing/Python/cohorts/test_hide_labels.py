"""Fewer labels: the right share of the training patients, everyone else as before, no mask left behind."""

from pathlib import Path

import pytest

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.splits import hide_labels
from PESemiSegLib.errors import ConfigError


def _manifest(train: int) -> Manifest:
    splits = ["train"] * train + ["val", "test"]
    return Manifest(
        tuple(
            Case(f"p{n}", "A", Path(f"{n}-{scan}.nii"), Path(f"{n}-{scan}-m.nii"), split=split, pe="yes")
            for n, split in enumerate(splits)
            for scan in range(2)
        )
    )


@pytest.mark.parametrize(("share", "kept"), [(1.0, 16), (0.5, 8), (0.25, 4), (0.125, 2), (0.001, 1)])
def test_the_ratios_of_table_3_of_tan_et_al(share: float, kept: int) -> None:
    before = _manifest(16)
    after = hide_labels(before, share, seed=3)
    assert len({case.patient for case in after.select("train", "labelled")}) == kept
    assert len({case.patient for case in after.select("train", "unlabelled")}) == 16 - kept
    assert all(case.mask is None for case in after.select("train", "unlabelled"))
    assert [case for case in after if case.split != "train"] == list(before)[-4:]
    assert hide_labels(before, share, seed=3) == after


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        hide_labels(_manifest(2), share)
