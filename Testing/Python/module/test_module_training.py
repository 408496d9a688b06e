"""Fine-tuning from the panel with a real worker: killed, found by the next Slicer, judged, used."""

import os
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Until = Callable[..., bool]
MODULE = Path(__file__).resolve().parents[3] / "PESemiSeg" / "PESemiSeg.py"
TINY = {
    "iterations": 10**6,  # until it is told that it is enough
    "checkpoint_every": 100,
    "validate_every": 50,
    "validation_batches": 1,
    "sampling": {"batch": 1, "crop": 32},
    "semi": {"batch": 1},
    "finish": {"iterations": 1, "batch": 1, "crop": 32},
}


def cohort(folder: Path, chest: np.ndarray) -> None:
    """Four patients with masks, in pairs of files."""
    import SimpleITK as sitk

    for number in range(4):
        noisy = chest + np.random.default_rng(number).integers(-9, 9, chest.shape, dtype=np.int16)
        zz, yy, xx = np.mgrid[:14, :64, :80]
        mask = ((np.hypot(yy - 28, xx - 58) < 2) & (abs(zz - 7) < 3)).astype(np.uint8)
        for name, array in (("ct", noisy), ("mask", mask)):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((3.0, 3.0, 5.0))
            (folder / f"p{number}").mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(folder / f"p{number}" / f"{name}.nii.gz"))


@pytest.fixture
def train(
    shell: Any,
    until: Until,
    chest: np.ndarray,
    tmp_path: Path,
    make_tiny_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The Fine-tune page, a tiny base model, four patients: one to train on, one held out, two bare."""
    from PESemiSegUI import train_settings

    make_tiny_model(Path(os.environ["PESEMISEG_HOME"]) / "models" / "tiny", spacing_mm=3.0)
    shell.enter()
    cohort(tmp_path / "scans", chest)
    shell.cohort.addFolder(str(tmp_path / "scans"))
    assert until(lambda: len(shell.cohort.cases) == 4), shell.cohort.ui.cohortStatus.text
    assert "without labels" in shell.train.ui.trainButton.toolTip
    splits = ("train", "test", "train", "train")
    shell.cohort.cases = tuple(
        replace(case, split=split) for case, split in zip(shell.cohort.cases, splits, strict=True)
    )
    for index in (2, 3):
        shell.cohort.setRole(index, "unlabelled")
        assert shell.cohort.ui.cohortTable.cellWidget(index, 3).currentText == "unlabelled"
    told = train_settings.params
    monkeypatch.setattr(
        train_settings, "params", lambda *given: told(*given) | {"overrides": TINY, "threads": 1}
    )
    ui = shell.train.ui
    ui.baseCombo.setCurrentIndex(ui.baseCombo.findData("tiny"))
    assert ui.trainButton.enabled, ui.trainButton.toolTip
    return shell.train


def restarted(host: Any) -> Any:
    """Slicer ends and starts again; the Fine-tune page of the new one."""
    import slicer

    slicer.mrmlScene.Clear(0)  # training does not mind
    host.unload_module("PESemiSeg")
    host.load_module(MODULE)
    slicer.util.getModuleWidget("PESemiSeg").shell.environment._probed = True
    slicer.util.selectModule("PESemiSeg")
    return slicer.modules.PESemiSegWidget.shell.train


@pytest.mark.timeout(1800)
def test_fine_tune_kill_reattach_and_use(train: Any, until: Until, host: Any) -> None:
    import slicer

    pytest.importorskip("torch")
    ui = train.ui
    assert "no new model yet" in ui.useModelButton.toolTip
    ui.trainButton.click()
    assert until(lambda: train._view.curves.names), ui.trainStatus.text
    ui.curvesButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") > 0
    assert until(lambda: train._seen.status.stage == "train"), ui.trainStatus.text
    assert ui.pauseButton.enabled
    os.kill(train._seen.status.process.pid, signal.SIGKILL)
    again = restarted(host)
    assert until(lambda: not again._monitor.active)
    assert again.ui.pauseButton.text == "Resume", again.ui.trainStatus.text
    assert not again.ui.useModelButton.enabled
    again.ui.pauseButton.click()
    again = restarted(host)
    assert again._monitor.active  # found again while it is at work
    assert until(lambda: again._seen is not None and again._seen.status.stage == "train")
    again.ui.finishButton.click()
    assert until(lambda: not again._monitor.active), again.ui.trainStatus.text
    assert "ready" in again.ui.trainStatus.text, again.ui.trainStatus.text
    assert not again.ui.exampleFrame.isHidden()
    assert "model orange" in again.ui.exampleCaption.text
    assert not again.ui.verdictFrame.isHidden()
    assert again.ui.verdictText.text
    assert again.ui.pageButton.enabled, again.ui.pageButton.toolTip
    again.ui.useModelButton.click()
    segment = slicer.modules.PESemiSegWidget.shell.segment
    assert until(lambda: segment.ui.modelCombo.currentData == "adapted", 30), again.ui.trainStatus.text
    assert (Path(os.environ["PESEMISEG_HOME"]) / "models" / "adapted").is_dir()


def test_without_a_verdict_the_model_is_not_used(shell: Any, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from PESemiSegLib.jobs.files import write_json
    from PESemiSegLib.jobs.folder import Job

    outcome, ui = shell.train._outcome, shell.train.ui
    job = Job.create("finetune", {"name": "x"})
    write_json(job.path("verdict.json"), {"verdict": "no labels", "sentences": ["Nobody was held out."]})
    outcome.show(SimpleNamespace(state="done", job=job))
    assert "Nobody was held out" in ui.verdictText.text
    assert not ui.useModelButton.enabled
    assert "nothing says whether it is better" in ui.useModelButton.toolTip
    assert ui.exportModelButton.enabled
    write_json(job.path("verdict.json"), {"verdict": "worse", "sentences": ["It is worse."]})
    outcome.show(SimpleNamespace(state="done", job=job))
    assert ui.useModelButton.enabled  # the sentences say how it is; the choice is the user's
    outcome.show(SimpleNamespace(state="failed", job=job))
    assert ui.verdictFrame.isHidden()


def test_the_copied_command_is_understood_by_the_command_line(shell: Any) -> None:
    import typer
    from PESemiSegUI import train_settings

    from PESemiSegLib.cli.main import build_app

    ui = shell.train.ui
    ui.presetCombo.setCurrentIndex(ui.presetCombo.findData("modern"))
    ui.strategyCombo.setCurrentIndex(2)
    ui.nameEdit.text = "ours"
    words = shlex.split(train_settings.command(ui, Path("a list.csv"), Path("bare.csv")))
    assert words[:2] == ["pesemiseg", "finetune"]
    found = (
        typer.main.get_command(build_app()).commands["finetune"].make_context("finetune", words[2:]).params
    )
    assert (Path(found["base"]) / "model.json").exists()
    assert (str(found["labelled"]), str(found["unlabelled"])) == ("a list.csv", "bare.csv")
    assert (found["preset"], found["name"], found["minutes"]) == ("modern", "ours", 120.0)
    assert found["strategy"] == ui.strategyCombo.currentData


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_dry_run_pause_and_resume(train: Any, until: Until) -> None:
    pytest.importorskip("torch")
    ui = train.ui
    ui.dryRunButton.click()
    assert until(lambda: not train._monitor.active and train._seen is not None)
    assert "went well" in train.ui.trainStatus.text, train.ui.trainStatus.text
    assert "About" in train.ui.planLabel.text
    ui.trainButton.click()
    assert until(lambda: train._seen is not None and train._seen.status.stage == "train"), ui.trainStatus.text
    ui.pauseButton.click()
    assert until(lambda: not train._monitor.active)
    assert "Paused" in ui.trainStatus.text, ui.trainStatus.text
    assert ui.pauseButton.text == "Resume"
    reached = train._seen.status.done
    ui.pauseButton.click()  # at once: the worker may still be about to end
    assert until(lambda: train._seen.active and train._seen.status.done > reached), ui.trainStatus.text


def test_curves_after_a_scene_with_curves_was_opened(shell: Any, tmp_path: Path) -> None:
    import slicer
    from PESemiSegUI import curves

    def drawn() -> dict[str, int]:
        chart = curves._chart(create=False)
        nodes = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
        return {node.GetName(): node.GetTableNode().GetNumberOfRows() for node in nodes}

    step = {"kind": "step", "iteration": 1, "L_seg": 0.5, "L_D": 0.7}
    one = curves.Curves()
    one.add(step)
    one.show()
    assert drawn() == {"L_seg": 1, "L_D": 1}
    slicer.util.saveScene(str(tmp_path / "new.mrb"))
    nodes = [n for kind in ("Chart", "Series") for n in slicer.util.getNodesByClass(f"vtkMRMLPlot{kind}Node")]
    for node in nodes:  # as an earlier version saved them
        node.SetSaveWithScene(True)
    slicer.util.saveScene(str(tmp_path / "old.mrb"))
    for name, left in (("new", 0), ("old", 2)):
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(tmp_path / f"{name}.mrb"))
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == left
        one.add(step | {"iteration": 2 + left})
        one.refresh()
        one.show()
        assert drawn() == {"L_seg": 2 + left // 2, "L_D": 2 + left // 2}
    other = curves.Curves()
    other.add({"kind": "validation", "iteration": 1, "dice": 0.5})
    other.refresh()
    assert drawn() == {"dice": 1}


def test_each_run_shows_its_own_and_none_starts_beside_another(
    shell: Any, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import shutil
    import time

    import qt

    from PESemiSegLib.jobs.files import write_json
    from PESemiSegLib.jobs.folder import Job
    from PESemiSegLib.jobs.watch import Watch
    from PESemiSegLib.models.store import demo_folder

    def run(state: str, **facts: Any) -> Job:
        job = Job.create("finetune", {"name": state, "device": "cpu", "base": str(tmp_path)})
        write_json(job.path("status.json"), {"state": state, "heartbeat_s": time.time(), **facts})
        return job

    done, failed = run("done", exit_code=0), run("failed", message="no memory", exit_code=1)
    write_json(done.path("verdict.json"), {"verdict": "better", "sentences": ["It is better."]})
    failed.path("log.txt").write_text("\n".join(f"line {n}" for n in range(9)))
    package = done.folder / "run" / "model"
    package.mkdir(parents=True)
    info = json.loads((demo_folder() / "model.json").read_text()) | {"name": "taken"}
    (package / "model.json").write_text(json.dumps(info))
    shutil.copytree(package, Path(os.environ["PESEMISEG_HOME"]) / "models" / "taken")
    working = run("running")
    panel, ui = shell.train, shell.train.ui
    panel.enter()
    assert ui.runCombo.currentData == working.id
    assert not ui.removeRunButton.enabled

    def choose(job: Job) -> None:
        ui.runCombo.setCurrentIndex(ui.runCombo.findData(job.id))
        assert until(lambda: not panel._monitor.active, 30)

    choose(failed)
    assert ui.removeRunButton.enabled
    assert not ui.verdictFrame.isAncestorOf(ui.removeRunButton)  # shown after a success alone
    assert ui.pauseButton.text == "Resume"
    for button in (ui.trainButton, ui.pauseButton):  # another run is at work
        assert "at work already" in button.toolTip
    assert "line 0" in ui.trainLogText.plainText
    ui.trainReportButton.click()
    report = qt.QApplication.clipboard().text()
    assert "no memory" in report
    assert "line 8" in report
    assert str(tmp_path) not in report
    choose(done)
    assert not ui.verdictFrame.isHidden()
    panel.enter()
    assert ui.runCombo.currentData == done.id  # what was chosen stays
    ui.useModelButton.click()  # it is on the list already
    assert until(lambda: shell.segment.ui.modelCombo.currentData == "taken", 30), ui.trainStatus.text
    monkeypatch.setattr(panel._monitor, "start", lambda job: panel._monitor.follow(Watch(job)))
    panel._start(dry=True)
    assert ui.verdictFrame.isHidden()
    assert not ui.useModelButton.enabled
    assert ui.trainLogText.plainText == ""
    write_json(working.path("status.json"), {"state": "cancelled"})
