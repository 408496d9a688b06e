"""Training as a job: killed at random it ends with the very weights of a run that was left in peace."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.watch import Snapshot, Watch

pytest.importorskip("torch", reason="training needs torch")
Until = Callable[..., Snapshot]
CaseMaker = Callable[[Path, int], tuple[Path, Path]]
SETTINGS = {
    "network": {"width": 2, "depth": "small", "context": 1, "upsample": "bilinear"},
    "sampling": {"batch": 1, "crop": 32, "context": 1},
    "spacing_mm": 3.0,
    "iterations": 60,
    "discriminator_every": 1,
    "validate_every": 20,
    "validation_batches": 1,
    "checkpoint_every": 5,
    "ema_decay": 0.9,
}


@pytest.fixture(scope="module")
def manifest(write_case: CaseMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest

    folder = tmp_path_factory.mktemp("cohort")
    cases = []
    for number, split in enumerate(("train", "train", "val")):
        image, mask = write_case(folder, number)
        cases.append(Case(f"Geheim {number}", "A", image, mask, "labelled", split, "strict"))
    write_manifest(Manifest(tuple(cases)), folder / "m.csv")
    return folder / "m.csv"


def settings_with(**changes: object) -> dict[str, object]:
    """Complete settings, as the panel puts them into a job."""
    from PESemiSegLib.training.config import TrainConfig
    from PESemiSegLib.training.plain import from_plain, to_plain

    return to_plain(from_plain(TrainConfig, SETTINGS | changes))


def weights(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}


@pytest.fixture
def parameters(manifest: Path) -> dict[str, object]:
    return {"manifest": manifest, "config": settings_with(), "threads": 1, "name": "tiny"}


def killed_until_done(job: Job, seed: int, kills: int) -> Watch:
    """Kill the worker `kills` times, at a random moment after its start or after a random checkpoint."""
    random_number = random.Random(seed)
    for _ in range(kills):
        watch = runner.start(job)
        checkpoints = random_number.randrange(4)
        seen = watch.poll()
        while checkpoints > 0 and not seen.ended:
            checkpoints -= sum(event["kind"] == "checkpoint" for event in seen.events)
            time.sleep(0.01)
            seen = watch.poll()
        time.sleep(random_number.uniform(0, 0.3))
        assert watch._process is not None
        watch._process.kill()
        if watch.wait(60).state == "done":
            return watch
    return runner.start(job)


def undisturbed(manifest: Path, folder: Path) -> dict[str, str]:
    """The same run by the function that the job calls."""
    from PESemiSegLib.training.config import TrainConfig
    from PESemiSegLib.training.export import export
    from PESemiSegLib.training.plain import from_plain
    from PESemiSegLib.training.run import RunOptions, prepare, train

    config = from_plain(TrainConfig, settings_with())
    options = RunOptions(manifest=manifest, folder=folder, threads=1, name="tiny")
    prepare(config, options)
    export(train(config, options), options, folder / "model")
    return weights(folder / "model")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(("seed", "kills"), [(0, 2), pytest.param(1, 12, marks=pytest.mark.slow)])
def test_killed_at_random_it_ends_with_the_weights_of_an_undisturbed_run(
    home: Path, parameters: dict[str, object], manifest: Path, tmp_path: Path, seed: int, kills: int
) -> None:
    job = Job.create("train", parameters)
    assert job.outlives
    watch = killed_until_done(job, seed, kills)
    seen = watch.wait(250)
    assert seen.state == "done", (seen.message, seen.log_tail)
    every = Watch(job).wait(60).events
    saved = [event["iteration"] for event in every if event["kind"] == "checkpoint"]
    assert saved == sorted(saved), "a checkpoint was lost"
    assert weights(job.folder / "run" / "model") == undisturbed(manifest, tmp_path / "reference")
    assert {"run/model/model.json", "run/model/segmenter.safetensors"} <= {
        result.name for result in seen.status.results
    }
    for name in ("status.json", "events.jsonl", "log.txt"):
        assert "Geheim" not in job.path(name).read_text(encoding="utf-8")


def test_pause_resume_and_stop_here(
    home: Path, parameters: dict[str, object], manifest: Path, until: Until
) -> None:
    config = settings_with(iterations=10**6)
    watch = runner.submit("train", parameters | {"config": config})
    until(watch, lambda seen: seen.status.stage == "train" or seen.ended, 200)
    watch.pause()
    paused = watch.wait(100)
    assert paused.state == "paused", (paused.message, paused.log_tail)
    reached = paused.status.done
    again = runner.start(watch.job)
    until(again, lambda seen: seen.status.done > reached or seen.ended, 200)
    again.finish()
    seen = again.wait(100)
    assert seen.state == "done", (seen.message, seen.log_tail)
    card = json.loads((watch.job.folder / "run" / "model" / "model.json").read_text())
    assert reached < card["training"]["iterations"] < 10**6


def test_a_bad_manifest_is_one_line_without_names(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "Meier.csv"
    table.write_text("patient,site\nMeier,A\n")
    seen = runner.submit("train", {"manifest": table}).wait(200)
    assert (seen.state, seen.status.exit_code) == ("failed", 2)
    assert "Meier" not in seen.message
    assert "<manifest>" in seen.message
