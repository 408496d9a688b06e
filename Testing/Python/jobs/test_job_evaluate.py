"""The evaluate job serves every kind of model, with the files and figures of the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.work.evaluate import work

pytest.importorskip("torch", reason="tiny models are made with torch")
CaseMaker = Callable[[Path, int], tuple[Path, Path]]


@pytest.fixture
def arteries(tmp_path: Path, write_case: CaseMaker) -> tuple[Path, Path]:
    """An untrained model of two vessels, and a scan whose mask labels both."""
    from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
    from PESemiSegLib.models.info import PackageInfo
    from PESemiSegLib.models.package import write_package
    from PESemiSegLib.networks.build import build_judge, build_segmenter
    from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
    from PESemiSegLib.volumes.reader import read
    from PESemiSegLib.volumes.write import write_nifti

    network = NetworkConfig(width=2, carafe_mid=2, classes=3)
    judge = DiscriminatorConfig(kind="mask_only", channels=(4,))
    info = PackageInfo("a", network.to_dict(), judge.to_dict(), 3.0, "phantom", kind="artery-segmenter")
    write_package(tmp_path / "a", info, build_segmenter(network, seed=1), build_judge(judge, network, seed=2))
    image, mask = write_case(tmp_path, 1)
    volume = read(mask)
    write_nifti(
        mask, np.where(volume.hu > 0, 2, np.arange(volume.shape[2]) > 40).astype(np.uint8), volume.grid
    )
    case = Case("Geheim 1", "A", image, mask, split="test", marks="arteries")
    write_manifest(Manifest((case,)), tmp_path / "m.csv")
    return tmp_path / "a", tmp_path / "m.csv"


@pytest.fixture
def identifier(
    tmp_path: Path, write_case: CaseMaker, make_tiny_identifier: Callable[[Path], Path]
) -> tuple[Path, Path]:
    """An untrained model that reads plain scans, and a pair that lies on one grid."""
    from PESemiSegLib.cohorts.manifest import Case, write_manifest
    from PESemiSegLib.cohorts.phases import REGISTERED, pair_manifest

    image, mask = write_case(tmp_path, 1)
    plain, other = write_case(tmp_path, 2)
    other.unlink()
    contrast = Case("Geheim 1", "A", image, mask, split="test")
    second = replace(contrast, image=plain, mask=None, problems=(REGISTERED,))
    write_manifest(pair_manifest([(contrast, second)]), tmp_path / "m.csv")
    return make_tiny_identifier(tmp_path / "i"), tmp_path / "m.csv"


@pytest.mark.parametrize(
    ("kind", "files", "figures"),
    [
        ("arteries", {"classes.csv", "classes.svg", "classes.png"}, {"dice": 1}),
        ("identifier", {"scans.csv", "probabilities.svg", "probabilities.png"}, {"probability": 1}),
    ],
)
def test_other_kinds_get_the_tables_of_the_command(
    kind: str,
    files: set[str],
    figures: dict[str, int],
    request: pytest.FixtureRequest,
    home: Path,
    tmp_path: Path,
) -> None:
    """That of emboli ends with its page, see `test_job_adaptation`."""
    model, table = request.getfixturevalue(kind)
    job = Job.create("evaluate", {"manifest": table, "model": model, "settings": {"threads": 1}})
    files |= {"summary.csv", "summary.md", "evaluation.json", "evaluation.html"}
    found = work(Context(job))
    assert {path.name for path in found} == files
    words = ["--manifest", str(table), "--model", str(model), "--threads", "1", "-o", str(tmp_path / "out")]
    assert main(["evaluate", *words]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == files | {"cases"}
    for name in ("summary.csv", "summary.md", "evaluation.html"):
        told = job.path(f"result/{name}").read_text(encoding="utf-8")
        assert told == (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "Geheim" not in told
    events = [json.loads(line) for line in job.path("events.jsonl").read_text(encoding="utf-8").splitlines()]
    (case,) = (event for event in events if event["kind"] == "case")
    assert (case["number"], case["stored"]) == (1, False)
    assert {name: len(case[name]) for name in figures} == figures
    work(Context(job))
    events = [json.loads(line) for line in job.path("events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["stored"] for event in events if event["kind"] == "case"] == [False, True]
    kept = "".join(path.read_text(encoding="utf-8") for path in job.path("cases").iterdir())
    assert "Geheim" not in kept


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("arteries", {"settings": {"strict": True}}, "no setting strict; there are .*threshold"),
        ("arteries", {"settings": {"thredas": 1}}, "no setting thredas"),
        ("arteries", {"settings": {"threads": "1"}}, "threads: expected int"),
        ("arteries", {"settings": {"threads": 0}}, "threads 0 must be at least 1"),
        ("arteries", {"settings": {"lung_filter": "huul"}}, "lung filter 'huul' is unknown"),
        ("arteries", {"settings": {"precision": "fp17"}}, "precision 'fp17' is unknown"),
        ("arteries", {"settings": None}, "settings must be names with values, not None"),
        ("identifier", {"settings": {"any_phase": True}}, "no setting any_phase; there are .*scan_from"),
        ("identifier", {"settings": {"batch": 2}}, "no setting batch"),
        ("arteries", {"min_overlap": "0.5"}, "min_overlap '0.5'"),
        ("arteries", {"min_overlap": 2}, "min_overlap 2 "),
        ("arteries", {"at_once": "2"}, "at_once '2'"),
        ("arteries", {"at_once": 0}, "at_once 0"),
    ],
)
def test_what_is_asked_is_checked_before_anything_is_read(
    kind: str,
    params: dict[str, object],
    words: str,
    request: pytest.FixtureRequest,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, table = request.getfixturevalue(kind)
    monkeypatch.setattr(
        "PESemiSegLib.cohorts.manifest.read_manifest", lambda path: pytest.fail("it has begun")
    )
    with pytest.raises(ConfigError, match=words) as refused:
        work(Context(Job.create("evaluate", {"manifest": table, "model": model, **params})))
    assert "\n" not in str(refused.value)
