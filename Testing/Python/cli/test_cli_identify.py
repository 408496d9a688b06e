"""`pesemiseg identify`: what it refuses. A whole run stands in test_cli_base_install."""

from collections.abc import Callable
from pathlib import Path

import pytest

from PESemiSegLib.cli.main import main


@pytest.fixture(scope="module")
def identifier(make_tiny_identifier: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_identifier(tmp_path_factory.mktemp("models") / "tiny-identifier")


def test_what_does_not_fit_is_refused_in_one_line(
    identifier: Path, chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [
        (["identify", str(chest), "--model", "demo"], "marks emboli and cannot identify a scan"),
        (["identify", str(chest), "--model", str(identifier)], "This looks like a contrast scan"),
        (["identify", str(chest), "--model", str(identifier)], "without contrast agent. --any-phase goes on"),
        (["segment", str(chest), "--model", str(identifier)], "tiny-identifier identifies scans"),
    ]
    for words, reason in refused:
        assert main([*words, "-o", str(tmp_path / "out")]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(lines) == 1
        assert reason in lines[0]
        assert not (tmp_path / "out").exists()
