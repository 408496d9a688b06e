"""Cross-validation: who is held out, and which model is asked of whom."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.phases import NO_CONTRAST, phase_pairs
from PESemiSegLib.cohorts.splits import k_folds
from PESemiSegLib.evaluation.folds import cross_validated, held_out


@pytest.mark.parametrize("left", ["train", "test"])
def test_folds_hold_out_both_scans_of_a_pair(left: str) -> None:
    """Drawing folds leaves the split of the plain scan, which is excluded, as it was."""
    rows = []
    for n in range(5):
        first = Case(f"p{n}", "A", Path(f"{n}.nii.gz"), Path(f"{n}m.nii.gz"))
        plain = Case(f"p{n}", "A", Path(f"{n}n.nii.gz"), None, "excluded", left, problems=(NO_CONTRAST,))
        rows += [first, plain]
    folds = dict(enumerate(k_folds(Manifest(tuple(rows)), 2), start=1))
    pairs = phase_pairs(held_out(folds))
    assert sorted(contrast.key for contrast, _ in pairs) == [f"A/p{n}" for n in range(5)]
    models = [SimpleNamespace(info=SimpleNamespace(what="w", network={}), sha256="s") for _ in folds]
    asked = cross_validated(models, folds)
    for number, (model, fold) in enumerate(zip(models, folds.values(), strict=True)):
        tested = fold.select("test")
        assert len(tested)
        assert all(asked.of(row) is model for row in tested), number
