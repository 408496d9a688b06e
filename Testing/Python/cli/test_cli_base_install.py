"""The small base install: `segment` and `identify` work where torch is absent; what needs torch says so."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

WITHOUT_TRAINING_SET = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"torch", "monai", "onnx", "onnxscript", "safetensors", "cv2", "sklearn", "matplotlib", "yaml"}


class BaseInstall:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = BaseInstall
from PESemiSegLib.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", WITHOUT_TRAINING_SET, *(str(argument) for argument in arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240, check=False)


def test_segment_works(environment: dict[str, str], chest: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run(environment, "segment", chest, "-o", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_identify_works_on_a_real_scan(
    environment: dict[str, str], shared_data: Path, make_tiny_identifier: Callable[..., Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(shared_data / "lidc0314_chest_noncontrast" / "series.zip") as archive:
        archive.extractall(tmp_path / "scan")
    model = make_tiny_identifier(tmp_path / "tiny-identifier")
    done = run(environment, "identify", tmp_path / "scan", "--model", model, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert 0.0 <= said["pe_probability"] <= 1.0
    assert said["provenance"]["engine"]["engine"] == "openvino"
    assert "no published evidence" in said["warning"].lower()
    assert set(said["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    assert "segmentation.dcm" in said["files"]
    levels = {line["code"]: line["level"] for line in said["check"]["sentences"]}
    assert levels["plain"] == "ok"  # 48 HU in the blood
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "LIDC" not in page + done.stdout  # the patient's ID


def test_train_names_what_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(environment, "train", "--phantom", tmp_path / "in", "-o", tmp_path / "out", "--iterations", 1)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: this needs ")
    assert done.stderr.endswith("pip install 'pesemiseg[train]'\n")
