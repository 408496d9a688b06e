"""The host answers the probes as a real Slicer did, or refuses; what else differs is named and explained."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All outcomes, from a process of its own: some probes leave traces."""
    import slicer_host

    if reason := slicer_host.why_not():
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("probes") / "outcomes.json"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "Testing" / "SlicerHost")}
    done = subprocess.run(
        [sys.executable, "-m", "slicer_host.probing", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(path.read_text())


def test_no_answer_differs_unnamed(outcomes: list[dict[str, Any]]) -> None:
    different = [o for o in outcomes if o["kind"] == "different"]
    assert not different, "\n".join(f"{o['name']}\n  real {o['real']}\n  host {o['host']}" for o in different)


def test_every_probe_was_asked_and_answered(outcomes: list[dict[str, Any]]) -> None:
    assert Counter(o["group"] for o in outcomes) == {"qt": 136, "slicer": 422}
    assert all(o["real"] for o in outcomes)


def test_shares_are_those_of_the_documentation(outcomes: list[dict[str, Any]]) -> None:
    page = (REPOSITORY / "Docs" / "slicer_host.md").read_text(encoding="utf-8")
    counts = Counter((o["group"], o["kind"]) for o in outcomes)
    for group in ("qt", "slicer"):
        row = [counts[group, kind] for kind in ("equal", "refused", "both refuse", "left out")]
        assert f"| {group} | {sum(row)} | {' | '.join(map(str, row))} |" in page


def test_reasons_name_probes_that_exist(outcomes: list[dict[str, Any]]) -> None:
    from slicer_host.probing import left_out

    assert set(left_out()) <= {o["name"] for o in outcomes}


@pytest.mark.parametrize(
    ("real", "answer", "kind"),
    [
        ("(1, 'a')", "(1, 'a')", "equal"),
        ("2", "<CheckState.Checked: 2>", "equal"),
        ("'5'", "!TypeError: no", "refused"),
        ("!AttributeError: no", "!TypeError: not so", "both refuse"),
        ("!AttributeError: no", "True", "different"),  # more lenient: the dangerous one
        ("('a',)", "['a']", "different"),
        ("x" * 1000, "x" * 999 + "y", "different"),
    ],
)
def test_comparing_is_strict(real: str, answer: str, kind: str) -> None:
    from slicer_host.probing import compare

    assert compare("qt", "some probe", real, answer, {}).kind == kind
    assert compare("qt", "some probe", real, answer, {"some probe": "why"}).kind in (kind, "left out")
