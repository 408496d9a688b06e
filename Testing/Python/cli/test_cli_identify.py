"""`pesemiseg identify` where torch is absent, on a real scan without contrast agent; and what it refuses."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main

WITHOUT_TORCH = """
import sys

sys.modules.update(dict.fromkeys(("torch", "monai", "onnx", "safetensors"), None))
from PESemiSegLib.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def identifier(make_tiny_identifier: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_identifier(tmp_path_factory.mktemp("models") / "tiny-identifier")


def test_a_real_scan_without_contrast_agent(
    shared_data: Path, identifier: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(shared_data / "lidc0314_chest_noncontrast" / "series.zip") as archive:
        archive.extractall(tmp_path / "scan")
    words = [
        "identify",
        str(tmp_path / "scan"),
        "--model",
        str(identifier),
        "-o",
        str(tmp_path / "out"),
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert 0.0 <= said["pe_probability"] <= 1.0
    assert said["provenance"]["engine"]["engine"] == "openvino"
    assert "no published evidence" in said["warning"].lower()
    assert set(said["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    assert "segmentation.dcm" in said["files"]
    codes = {line["code"]: line["level"] for line in said["check"]["sentences"]}
    assert codes["plain"] == "ok"  # 48 HU in the blood
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8") + json.dumps(said)
    assert "LIDC" not in text  # the patient's ID


def test_what_does_not_fit_is_refused_in_one_line(
    identifier: Path, chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [
        (["identify", str(chest), "--model", "demo"], "marks emboli and cannot identify a scan"),
        (["identify", str(chest), "--model", str(identifier)], "This looks like a contrast scan"),
        (["segment", str(chest), "--model", str(identifier)], "tiny-identifier identifies scans"),
    ]
    for words, reason in refused:
        assert main([*words, "-o", str(tmp_path / "out")]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(lines) == 1
        assert reason in lines[0]
        assert not (tmp_path / "out").exists()
