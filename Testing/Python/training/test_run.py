"""A whole run in small: train, write the package, segment with it, measure it, choose its operating point."""

import contextlib
import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from PESemiSegLib.cli.main import main
from PESemiSegLib.cohorts.augment import AugmentConfig
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest, write_manifest
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.errors import ConfigError, InputError, OutputError
from PESemiSegLib.evaluation.evaluate import by_site, evaluate_cases, summary_rows
from PESemiSegLib.evaluation.operating_point import choose_point, sweep
from PESemiSegLib.evaluation.tables import to_json, to_markdown
from PESemiSegLib.models.load import load_segmenter
from PESemiSegLib.networks.config import NetworkConfig
from PESemiSegLib.training.checkpoint import load_checkpoint, save_checkpoint, settings_at
from PESemiSegLib.training.config import TrainConfig, write_yaml
from PESemiSegLib.training.parallel import launch
from PESemiSegLib.training.plain import to_plain
from PESemiSegLib.training.run import RunOptions, check_cohort, export, prepare, source_of, train
from PESemiSegLib.training.trainer import CHECKPOINT
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.write import write_nifti

CONFIG = TrainConfig(
    network=NetworkConfig(width=4, context=3, upsample="bilinear"),
    sampling=SamplingConfig(batch=1, crop=32, context=3, augment=AugmentConfig()),
    spacing_mm=3.0,
    iterations=2,
    discriminator_every=1,
    validate_every=2,
    validation_batches=1,
    checkpoint_every=2,
    ema_decay=0.9,
)


def _chest(clots: bool) -> tuple[np.ndarray, np.ndarray]:
    """A body, two lungs, a vessel in each, and clots in them if wanted."""
    zz, yy, xx = np.mgrid[:24, :64, :64]
    hu = np.full(zz.shape, -1000.0)
    hu[((yy - 32) / 26) ** 2 + ((xx - 32) / 30) ** 2 < 1] = 40
    for x0 in (18, 46):
        hu[((yy - 32) / 18) ** 2 + ((xx - x0) / 10) ** 2 + ((zz - 12) / 11.5) ** 2 < 1] = -850
        hu[(np.hypot(yy - 32, xx - x0) < 4) & (zz > 3) & (zz < 21)] = 320
    mask = np.zeros(hu.shape, np.uint8)
    if clots:
        for z0, x0 in ((9, 18), (15, 46)):
            mask[(np.hypot(yy - 32, xx - x0) < 3) & (abs(zz - z0) < 3)] = 1
        hu[mask > 0] = 40
    return (hu + np.random.default_rng(0).normal(0, 10, hu.shape)).astype(np.int16), mask


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    affine = np.diag([3.0, 3.0, 5.0, 1.0])
    cases = []
    for number, (split, clots) in enumerate(
        [("train", True), ("train", False), ("val", True), ("test", True)]
    ):
        hu, mask = _chest(clots)
        hu += np.int16(number)  # four different scans
        for name, array in (("ct", hu), ("mask", mask)):
            write_nifti(folder / f"{name}{number}.nii.gz", array, Grid(array.shape, affine))
        image, label = folder / f"ct{number}.nii.gz", folder / f"mask{number}.nii.gz"
        cases.append(Case(f"P-{number}", "A", image, label, "labelled", split, "strict"))
    write_manifest(Manifest(tuple(cases)), folder / "m.csv")
    return folder / "m.csv"


def test_from_a_manifest_to_a_measured_package(
    manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "PESemiSegLib")
    torch.set_num_threads(1)
    options = RunOptions(manifest=manifest, folder=tmp_path / "run", command="pesemiseg train", name="tiny")
    prepare(CONFIG, options)
    trainer = train(CONFIG, options)
    package = export(trainer, options, tmp_path / "run" / "model", threshold=0.4)
    assert package.info.data_origin == "patients"
    assert package.info.threshold == 0.4
    assert package.info.training["patients"] == {
        "A/test/labelled": 1,
        "A/train/labelled": 2,
        "A/val/labelled": 1,
    }
    written, average = load_segmenter(package).state_dict(), trainer.average.state()
    assert average.keys() == written.keys()
    assert all(torch.equal(value, written[name]) for name, value in average.items())
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").open()))
    assert rows
    assert (tmp_path / "run" / "settings.yaml").exists()
    assert (tmp_path / "run" / "examples" / "000002.png").exists()
    assert "P-1" not in caplog.text
    assert "P-1" not in (tmp_path / "run" / "events.jsonl").read_text()
    assert "P-1" not in (package.folder / "model.json").read_text()

    from PESemiSegLib.cohorts.manifest import read_manifest

    cases = list(read_manifest(manifest).select("test"))
    results = evaluate_cases(cases, package, engine="torch", device="cpu", lung_filter="none")
    groups = by_site(results)
    assert groups["A"]["scans"] == 1
    assert groups["A"]["emboli"] == 2
    assert 0 <= groups["A"]["dice"].value <= 1
    assert "lesion_sensitivity, unknown" in to_markdown(summary_rows(groups))
    assert json.loads(to_json(groups))["A"]["by_size"]
    cuts = ((0.2, 0.2), (0.6, 0.6), (0.2, 0.6))
    points = sweep(cases, package, cuts=cuts, smallest_mm3=(0.0, 100.0), engine="torch", device="cpu")
    assert len(points) == 6
    assert choose_point(points) in points


def test_a_dry_run_of_train_tells_what_it_takes_and_leaves_nothing(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(CONFIG, tmp_path / "settings.yaml")
    before = sorted(tmp_path.rglob("*"))
    words = ["--manifest", str(manifest), "--config", str(tmp_path / "settings.yaml"), "--dry-run"]
    assert main(["train", *words, "--threads", "1", "-o", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "plan: L_seg" in said
    assert "it fits: " in said
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["train", *words, "--processes", "2", "-o", str(tmp_path / "run")]) == 2
    assert main(["train", *words, "--unlabelled", str(manifest.parent), "-o", str(tmp_path / "run")]) == 2
    assert "supervised reads no unlabelled scans" in capsys.readouterr().err


def test_finetune_is_no_work_for_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    words = ["--base", "demo", "--labelled", "a.csv", "--unlabelled", "b", "-o", str(tmp_path / "run")]
    assert main(["finetune", *words]) == 2
    assert "`pesemiseg train --base`" in " ".join(capsys.readouterr().err.split())


def test_a_run_is_not_overwritten_nor_resumed_from_nothing(manifest: Path, tmp_path: Path) -> None:
    options = RunOptions(manifest=manifest, folder=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        prepare(CONFIG, options)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"x")
    with pytest.raises(OutputError, match="holds a run already"):
        prepare(CONFIG, replace(options, resume=False))


@pytest.mark.parametrize(
    ("device", "words"),
    [("auto", "none to train on"), ("mps", "none to train on"), ("cuda:99", "CUDA device")],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    manifest: Path, tmp_path: Path, device: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare(CONFIG, RunOptions(manifest=manifest, folder=tmp_path / "run", device=device))
    assert not (tmp_path / "run").exists()


def test_copies_across_splits_are_found_in_a_manifest_without_fingerprints(
    manifest: Path, tmp_path: Path
) -> None:
    cases = list(read_manifest(manifest))
    copy = tmp_path / "again.nii.gz"
    copy.write_bytes(cases[0].image.read_bytes())
    cases[3] = replace(cases[3], image=copy)
    write_manifest(Manifest(tuple(cases)), tmp_path / "m.csv")
    with pytest.raises(InputError, match="copies of the same scan"):
        prepare(CONFIG, RunOptions(manifest=tmp_path / "m.csv", folder=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_patients_it_began_with(manifest: Path, tmp_path: Path) -> None:
    cases = read_manifest(manifest)
    resplit = Manifest(tuple(replace(c, split="train" if c.split == "val" else c.split) for c in cases))
    known = Manifest((*cases.select("train"), *cases.select("val")))  # test patients may come and go
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, {}, {"config": to_plain(CONFIG), "source": source_of(cases)})
    settings_at(path, CONFIG, source_of(known))
    with pytest.raises(InputError, match="another cohort"):
        settings_at(path, CONFIG, source_of(resplit))
    settings_at(path, CONFIG, source_of(known), "of a version that did not note it")
    save_checkpoint(path, {}, {"config": to_plain(CONFIG), "base": "abc"})
    settings_at(path, CONFIG, base="abc")
    with pytest.raises(InputError, match="another model to start from"):
        settings_at(path, CONFIG, base="abd")
    other_window = replace(CONFIG, sampling=replace(CONFIG.sampling, hu_window=(-1000.0, 1000.0)))
    for other, words in ((replace(CONFIG, spacing_mm=2.0), "spacing"), (other_window, "HU window")):
        with pytest.raises(InputError, match=words):
            settings_at(path, other, base="abc")


def test_the_best_weights_are_kept_where_patients_tell_them_and_while_asked_for(
    manifest: Path, tmp_path: Path
) -> None:
    best, cases = replace(CONFIG, keep="best"), read_manifest(manifest)
    with pytest.raises(InputError, match="keep: best"):
        check_cohort(best, cases.select("train"))
    torch.set_num_threads(1)
    options = RunOptions(manifest=manifest, folder=tmp_path / "run")
    prepare(best, options)
    trainer = train(best, options)
    assert "kept" in export(trainer, options, tmp_path / "model").info.training
    trainer.config = CONFIG  # as a run that goes on may have it
    assert "kept" not in export(trainer, options, tmp_path / "model").info.training


def test_a_manifest_without_training_cases_is_refused(manifest: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(manifest).select("val"), tmp_path / "val.csv")
    with pytest.raises(InputError, match="no labelled case in the split 'train'"):
        prepare(CONFIG, RunOptions(manifest=tmp_path / "val.csv", folder=tmp_path / "run"))


def _share_then_refuse(folder: str) -> None:
    """Run in each process: average the gradient of a linear loss whose slope is the process's number."""
    from PESemiSegLib.training import parallel

    torch.set_num_threads(1)
    module = torch.nn.Linear(2, 1)
    module(torch.full((1, 2), float(parallel.rank() + 1))).sum().backward()
    parallel.average(module)
    seen = parallel.agree(float(parallel.rank()), 5.0)
    gradient = module.weight.grad
    assert gradient is not None
    (Path(folder) / f"{parallel.rank()}.json").write_text(json.dumps([gradient.tolist(), seen]))
    raise InputError("the scan is unreadable")


def test_two_processes_share_their_gradients_and_errors_come_back_as_themselves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the scan is unreadable"):
        launch(_share_then_refuse, (str(tmp_path),), 2, tmp_path / ".meeting")
    values = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert values[0] == values[1] == [[[1.5, 1.5]], [1.0, 5.0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")
def test_torchrun_goes_on_from_the_checkpoint_when_a_process_was_killed(
    manifest: Path, tmp_path: Path
) -> None:
    run, settings = tmp_path / "run", tmp_path / "settings.yaml"
    write_yaml(replace(CONFIG, iterations=60, checkpoint_every=5, validate_every=60), settings)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    train = ["-m", "PESemiSegLib.cli.main", "train", "--manifest", manifest, "--config", settings]
    command = [sys.executable, *torchrun, *train, "--threads=1", "-o", run]
    with (tmp_path / "log.txt").open("w") as log, subprocess.Popen(command, stderr=log) as started:
        until = time.monotonic() + 600
        while not (run / CHECKPOINT).exists() and time.monotonic() < until and started.poll() is None:
            time.sleep(0.05)
        os.kill(_second_process_below(started.pid), signal.SIGKILL)
        code = started.wait(900)
    said = (tmp_path / "log.txt").read_text()
    assert code == 0, said
    _, scalars = load_checkpoint(run / CHECKPOINT)
    assert scalars["iteration"] == 60
    assert (run / "model" / "model.json").exists()
    begun = [line for line in said.splitlines() if line.startswith("plan: L_seg")]
    assert len(begun) == 2, said  # it was killed before it was through, and went on


def _second_process_below(parent: int) -> int:
    """The process of rank 1 that torchrun, of this number, has started."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            above = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if above == parent and b"\0RANK=1\0" in b"\0" + (entry / "environ").read_bytes():
                return int(entry.name)
    raise AssertionError("torchrun has no second process")
