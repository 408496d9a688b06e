"""Fine-tuning and evaluation as jobs, by real workers: verdict, page, stored scans, no names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.watch import Snapshot

pytest.importorskip("torch", reason="training needs torch")
CaseMaker = Callable[[Path, int], tuple[Path, Path]]
TINY = {
    "finish": {"iterations": 1},
    "sampling": {"crop": 32},
    "iterations": 2,
    "validate_every": 2,
    "validation_batches": 1,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def cohort(write_case: CaseMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`m.csv` with a patient to train on and one held out; `new/` with one unlabelled scan."""
    from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest

    folder = tmp_path_factory.mktemp("cohort")
    cases = []
    for number, split in enumerate(("train", "test")):
        image, mask = write_case(folder, number)
        cases.append(Case(f"Geheim {number}", "A", image, mask, "labelled", split))
    write_manifest(Manifest(tuple(cases)), folder / "m.csv")
    (folder / "new").mkdir()
    _, spare = write_case(folder / "new", 7)
    spare.unlink()
    return folder


@pytest.fixture(scope="module")
def base(make_tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", spacing_mm=3.0, min_lesion_mm3=5.0)


def _names(seen: Snapshot) -> set[str]:
    assert seen.state == "done", (seen.message, seen.log_tail)
    return {result.name for result in seen.status.results}


def test_a_finetune_job_ends_with_a_verdict_and_a_page(home: Path, cohort: Path, base: Path) -> None:
    params = {
        "base": base,
        "labelled": cohort / "m.csv",
        "unlabelled": cohort / "new",
        "site": "B",
        "preset": "cpu_demo",
        "threads": 1,
        "overrides": TINY,
        "settings": {"threads": 1},
    }
    watch = runner.submit("finetune", params)
    seen = watch.wait(200)
    assert {"run/model/model.json", "verdict.json", "run/evaluation/evaluation.html"} <= _names(seen)
    verdict = json.loads(watch.job.path("verdict.json").read_text(encoding="utf-8"))
    (told,) = [event for event in seen.events if event["kind"] == "verdict"]
    assert told["sentences"] == verdict["sentences"]
    card = json.loads((watch.job.folder / "run" / "model" / "model.json").read_text(encoding="utf-8"))
    assert card["metrics"]["held_out"]["verdict"] == verdict["verdict"] == "no difference shown"
    assert (watch.job.folder / "run" / "curves.png").exists()
    for file in watch.job.folder.rglob("*"):
        if file.is_file() and file.name not in ("job.json", "manifest.csv"):
            assert b"Geheim" not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"strict": True}, "no setting strict"), ({"threads": "1"}, "threads: expected int")],
)
def test_settings_of_the_verdict_are_checked_before_the_training(
    home: Path,
    cohort: Path,
    base: Path,
    settings: dict[str, object],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PESemiSegLib.errors import ConfigError
    from PESemiSegLib.jobs.context import Context
    from PESemiSegLib.jobs.folder import Job
    from PESemiSegLib.jobs.work.finetune import work

    monkeypatch.setattr("PESemiSegLib.training.gather.gather", lambda *_, **__: pytest.fail("it has begun"))
    params = {"base": base, "labelled": cohort / "m.csv", "unlabelled": cohort / "new", "settings": settings}
    with pytest.raises(ConfigError, match=words):
        work(Context(Job.create("finetune", params)))


def test_an_evaluate_job_ends_with_a_page(home: Path, cohort: Path, base: Path) -> None:
    params = {"manifest": cohort / "m.csv", "split": "all", "model": base, "settings": {"threads": 1}}
    watch = runner.submit("evaluate", params)
    seen = watch.wait(200)
    assert {"result/evaluation.html", "result/summary.csv", "result/patients.csv"} <= _names(seen)
    told = [event for event in seen.events if event["kind"] == "case"]
    assert [(event["number"], event["stored"]) for event in told] == [(1, False), (2, False)]
    for file in watch.job.folder.rglob("*"):
        if file.is_file() and file.name != "job.json":
            assert b"Geheim" not in file.read_bytes(), file.name
