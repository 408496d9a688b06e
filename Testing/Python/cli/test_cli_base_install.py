"""The small base install: `segment` works where torch is absent, and what needs torch says so."""

import subprocess
import sys
from pathlib import Path

WITHOUT_TRAINING_SET = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"torch", "monai", "onnx", "onnxscript", "safetensors", "cv2", "sklearn", "matplotlib", "yaml"}


class BaseInstall:
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


def test_train_names_what_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(environment, "train", "--phantom", tmp_path / "in", "-o", tmp_path / "out", "--iterations", 1)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: this needs ")
    assert done.stderr.endswith("pip install 'pesemiseg[train]'\n")
