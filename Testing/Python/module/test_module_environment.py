"""The Environment page on the host: what is installed, repaired and said; what a closed Slicer has left."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def looked(missing: tuple[str, ...] = (), torch: bool = True) -> dict[str, Any]:
    """What a look at a computer with OpenVINO finds."""
    from PESemiSegUI import install

    names = {*install.SMALL_SET, *install.TRAINING_SET, *(("torch",) if torch else ())}
    why = "" if torch else "torch is not installed"
    lacking = [name for name in install.TRAINING_SET if name in missing]
    return {
        "python": {"version": "3.12.10", "machine": "x86_64"},
        "computer": {"cores": 2, "memory_gib": 8, "memory_free_gib": 4},
        "packages": {name: "1.0" for name in names if name not in missing},
        "openvino": {"usable": True, "version": "2026.4", "cpu": "Xeon"},
        "torch": {"usable": torch, "why": why, "gpus": []},
        "devices": [{"device": "cpu", "name": "Xeon", "usable": True}],
        "training": {"usable": not lacking and torch, "why": f"not installed: {', '.join(lacking)}"},
    }


@pytest.fixture
def page(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panel; a look at this computer is asked for, and not made."""
    monitor, nothing = shell.environment._monitor, SimpleNamespace(ended=False, events=())
    monkeypatch.setattr(
        monitor, "start", lambda job: monitor.follow(SimpleNamespace(job=job, poll=lambda: nothing))
    )
    yield shell.environment
    monitor.forget()


def ends(page: Any, state: str = "done", facts: dict[str, Any] | None = None) -> None:
    """The look at this computer ends."""
    from PESemiSegLib.jobs.files import write_json

    job = page._monitor.job
    write_json(job.path("probe.json"), looked() if facts is None else facts)
    page._monitor.forget()
    page._onEnd(SimpleNamespace(state=state, job=job, message="it crashed", log_tail=()))


def test_the_lists_are_those_of_the_files(shell: Any) -> None:
    from PESemiSegUI import install

    from PESemiSegLib.jobs.work import probe

    for name, known in (("", install.SMALL_SET), ("-training", install.TRAINING_SET)):
        path = REPOSITORY / "PESemiSeg" / "Resources" / f"requirements{name}.txt"
        assert [line.split(">=")[0] for line in path.read_text().split()] == list(known)
    assert probe._BASE == install.SMALL_SET
    assert set(probe._TRAINING) - {"torch"} <= set(install.TRAINING_SET)
    assert set(install.TRAINING_SET) <= set(probe._packages())


def test_training_needs_the_small_set_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from PESemiSegLib.jobs.work import probe

    facts: dict[str, Any] = {"packages": dict.fromkeys(probe._packages(), "1.0"), "torch": {"usable": True}}
    assert probe._training(facts)["usable"]
    facts["packages"] |= {"safetensors": None, "monai": None, "tensorboard": None}  # this is for curves
    assert probe._training(facts)["why"] == "not installed: safetensors, monai"


def test_what_fine_tuning_needs_comes_after_pytorch(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer.packaging

    ui, asked = page.ui, []
    page._show(looked(missing=("monai", "onnx"), torch=False))
    assert not ui.trainingButton.enabled
    assert "Install PyTorch first" in ui.trainingButton.toolTip
    page._show(looked(missing=("monai", "onnx")))
    assert ui.trainingButton.enabled
    assert "No fine-tuning yet (not installed: monai, onnx)" in ui.environmentSummary.text

    def ensure(wanted: list, constraints: Any = None, requester: str = "") -> None:
        asked.append(([str(item) for item in wanted], Path(constraints).read_text(), requester))

    monkeypatch.setattr(slicer.packaging, "pip_ensure", ensure)
    ui.trainingButton.click()
    ((wanted, fixed, requester),) = asked
    assert "monai>=1.5" in wanted
    assert not [line for line in wanted if line.startswith(("torch>", "numpy"))]
    assert {line.split("==")[0] for line in fixed.split()} == {"numpy", "torch"}
    assert requester == "PESemiSeg"
    assert not ui.trainingButton.enabled  # while this computer is looked at
    ends(page)
    assert not ui.trainingButton.enabled
    assert "All of it is there" in ui.trainingButton.toolTip
    assert "Fine-tuning works" in ui.environmentSummary.text


def test_a_folder_of_wheels_serves_both_sets(
    page: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import slicer.packaging

    asked: list[list[str]] = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda item: item.name not in ("jinja2", "monai"))
    page.ui.wheelPath.currentPath = str(tmp_path)
    page._show(looked(missing=("jinja2", "monai")))
    page.ui.installButton.click()
    ends(page, facts=looked(missing=("monai",)))
    page.ui.trainingButton.click()
    offline = ["--no-index", "--find-links", str(tmp_path)]
    assert asked[0] == [*offline, "jinja2>=3.1"]
    assert asked[1][0] == "--constraint"
    assert asked[1][2:] == [*offline, "monai>=1.5"]
    from PESemiSegUI import machine

    assert machine.value("wheels") == str(tmp_path)


def test_what_an_installer_says_stays_to_be_read(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PESemiSegUI import install

    said = "PyTorch is installed. Restart Slicer before you go on."
    monkeypatch.setattr(install, "torch", lambda: said)
    page._onTorch()
    assert page.ui.environmentStatus.text.startswith(said)
    ends(page)
    assert page.ui.environmentStatus.text == said
    page.probe()
    assert said not in page.ui.environmentStatus.text
    ends(page)
    assert page.ui.environmentStatus.text == ""
    page._onTorch()
    ends(page, state="lost")
    assert page.ui.environmentStatus.text.startswith(said)
    assert "it crashed" in page.ui.environmentStatus.text


def test_pytorch_that_the_user_declined_is_not_installed(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PESemiSegUI import install

    for outcome, words in ((None, "was not installed"), (object(), "is installed. Restart")):
        logic = SimpleNamespace(installTorch=lambda askConfirmation, outcome=outcome: outcome)
        monkeypatch.setitem(
            sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda logic=logic: logic)
        )
        assert words in install.torch()


def test_another_python_waits_for_the_look_at_the_last_one(page: Any) -> None:
    page.probe()
    assert not page.ui.pythonButton.enabled
    assert "on its way" in page.ui.pythonButton.toolTip
    ends(page)
    assert page.ui.pythonButton.enabled


@pytest.mark.parametrize("cut", ["RECORD", "METADATA", "dist-info"])
def test_repair_takes_half_a_pytorch_away(
    page: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut: str
) -> None:
    import shutil

    import slicer
    from PESemiSegUI import install

    asked: list[str] = []

    def refuse(name: str) -> None:
        asked.append(name)
        raise RuntimeError(f"Cannot uninstall {name}, RECORD file not found")

    monkeypatch.setattr(slicer.util, "pip_uninstall", refuse)
    monkeypatch.setattr(install.sysconfig, "get_path", lambda name: str(tmp_path))
    other = ("torchmetrics", "torchmetrics-1.0.dist-info", "torch_geometric-2.0.dist-info", "numpy")
    ours = ("torch", "torchgen", "functorch", "torchvision.libs")
    info = ("torch-2.9.0+cu126.dist-info", "torchvision-0.24.0.dist-info")
    for name in (*other, *ours, *info):
        (tmp_path / name).mkdir()
        for file in {"RECORD", "METADATA", "x.py"} - {cut}:
            (tmp_path / name / file).touch()
    if cut == "dist-info":
        for name in info:
            shutil.rmtree(tmp_path / name)
    said = install.removeTorch()
    assert {path.name for path in tmp_path.iterdir()} == set(other)
    assert all(name in said for name in ours)
    # pip is asked first, where it has a record: it knows of scripts elsewhere
    assert asked == ([] if cut == "dist-info" else ["torch", "torchvision"])
    asked.clear()
    assert "no PyTorch" in install.removeTorch()
    assert asked == []


def test_repair_is_offered_where_folders_are_left_without_a_record(page: Any) -> None:
    facts = looked(torch=False)
    page._show(facts)
    assert not page.ui.repairButton.enabled
    facts["torch"] |= {"why": "torch is installed but does not work", "broken": True}
    page._show(facts)
    assert page.ui.repairButton.enabled


def test_what_a_closed_slicer_left_of_scans_goes(host: Any, shell: Any) -> None:
    """Ended, and nobody is left who would take it; other runs stay as they are."""
    import os

    from PESemiSegUI import disk

    from PESemiSegLib.jobs.files import write_json
    from PESemiSegLib.jobs.folder import Job
    from PESemiSegLib.jobs.process import Identity, identify, machine
    from PESemiSegLib.jobs.status import Status

    gone, here = Identity(2**22 + 1, "long ago", machine()), identify(os.getpid())

    def left(kind: str, state: str, starter: Any, **options: Any) -> Job:
        job = Job.create(kind, {}, **options)
        job.path("input.npy").write_bytes(b"CT")
        write_json(
            job.path("status.json"), Status(state, starter=starter, process=gone, exit_code=0).to_dict()
        )
        return job

    removed = [left(kind, "failed", gone) for kind in ("segment", "identify", "read")]
    removed += [left("segment", "cancelled", gone), left("segment", "running", gone)]  # lost, this one
    emptied = left("segment", "done", gone)
    kept = [left("segment", "failed", here), left("finetune", "failed", gone)]
    kept += [left("segment", "cancelled", gone, outlives=True), left("segment", "failed", None)]
    use = disk.tidy()
    assert [job.folder.exists() for job in removed] == [False] * len(removed)
    assert emptied.folder.exists()
    assert not emptied.path("input.npy").exists()
    assert all(job.path("input.npy").exists() for job in kept)
    assert use.runs == 1 + len(kept)


def test_the_first_entry_tidies_up(page: Any, monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    from PESemiSegUI import disk

    assert until(lambda: not page._task.active, 30)
    done: list[str] = []
    monkeypatch.setattr(disk, "tidy", lambda: done.append("tidy") or disk.Use(0, 0, 0, 0))
    monkeypatch.setattr(disk, "use", lambda: done.append("use") or disk.Use(0, 0, 0, 0))
    page._tidied = False
    for _ in range(2):
        page.enter()
        assert until(lambda: not page._task.active, 30)
    assert done == ["tidy", "use"]
