"""How long the Slicer module holds the user interface up, on the test host: the longest turn of each phase.

`.venv/bin/python Testing/Benchmarks/ui_gap.py [SCAN]`; without a scan a small made-up chest is segmented. The
aim is 50 ms during a run. "busy" is the processor time of the user interface's thread, which other programs
do not lengthen; "clock" is what a user of this computer saw.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Testing" / "SlicerHost"))
MODULE = REPOSITORY / "PESemiSeg" / "PESemiSeg.py"
LARGE = (300, 512, 512)  # k, j, i of a usual scan
FINDINGS = 30


def main() -> None:
    """Measure and print a Markdown table."""
    import slicer_host
    from slicer_host.driving import Turns

    with tempfile.TemporaryDirectory(prefix="pesemiseg-ui-") as home:
        os.environ["PESEMISEG_HOME"] = home
        phases: dict[str, Turns] = {}

        def phase(name: str) -> Turns:
            return phases.setdefault(name, Turns())

        slicer_host.start()
        import slicer

        phase("module loaded at start-up").take(lambda: slicer_host.load_module(MODULE))
        phase("panels made").take(lambda: slicer.util.selectModule("PESemiSeg"))
        shell = slicer.modules.PESemiSegWidget.shell
        phase("look at this computer").until(lambda: not shell.environment._monitor.active)
        _run(shell, phase, sys.argv[1] if len(sys.argv) > 1 else "")
        _import_large(shell, phase, Path(home))
        _review(shell, phase)
        print("| phase | turns | longest, busy | longest, clock |\n|---|---|---|---|")
        for name, turns in phases.items():
            busy, wall = 1e3 * max(turns.busy_s), 1e3 * max(turns.wall_s)
            print(f"| {name} | {len(turns.busy_s)} | {busy:.0f} ms | {wall:.0f} ms |")
        sys.stdout.flush()
        os._exit(0)  # nothing here is worth an orderly end of a Qt without an application


def _run(shell: Any, phase: Any, scan: str) -> None:
    """A whole run with a real worker: volume out, slices in, result in."""
    import slicer
    from PESemiSegUI import self_test

    panel = shell.segment
    if scan:
        panel.load(scan)
        phase("load a scan").until(lambda: panel.ui.inputSelector.currentNode() is not None)
    else:
        chest = np.repeat(self_test._chest(), 4, axis=0)
        node = slicer.util.addVolumeFromArray(chest, np.diag([3.0, 3.0, 1.5, 1.0]), "chest")
        panel.ui.inputSelector.setCurrentNode(node)
        panel.parameters.ownThreshold, panel.parameters.threshold = True, 0.05
    turns = phase("a run: volume out, slices as they finish, result in")
    turns.take(lambda: panel.start(strict=False))
    turns.until(lambda: not panel.running, 3600)


def _import_large(shell: Any, phase: Any, home: Path) -> None:
    """The result of a usual scan, from files to the scene, by the panel's own steps."""
    import slicer
    from PESemiSegUI import scan_run, segment_run, self_test

    folder = home / "large"
    folder.mkdir()
    matrix = np.diag([-0.7, -0.7, 1.0, 1.0])
    self_test.writeResult(folder, matrix.tolist())
    rng, labels = np.random.default_rng(0), np.zeros(LARGE, np.uint8)
    about = json.loads((folder / "findings.json").read_text())
    pattern, about["findings"] = about["findings"][0], []
    for number in range(1, FINDINGS + 1):
        k, j, i = (int(rng.integers(20, n - 60)) for n in LARGE)
        box = [[k, k + 8], [j, j + 25], [i, i + 25]]
        labels[tuple(slice(*span) for span in box)] = number
        about["findings"].append(pattern | {"id": number, "box_kji": box})
    (folder / "findings.json").write_text(json.dumps(about))
    np.save(folder / "labels.npy", labels)
    np.save(folder / "confidence.npy", np.zeros(LARGE, np.float32))
    volume = slicer.util.addVolumeFromArray(np.zeros(LARGE, np.int16), matrix, "large")
    news: list[Any] = []
    run = segment_run.SegmentRun(news.append)
    run._request = scan_run.Request(volume, "demo")
    turns = phase(f"result of {LARGE[2]}x{LARGE[1]}x{LARGE[0]} voxels with {FINDINGS} findings in")
    turns.take(lambda: run._import(SimpleNamespace(job=SimpleNamespace(folder=folder, id="large"))))
    turns.until(lambda: bool(news))
    assert news[-1].phase == scan_run.FINISHED, news[-1].message
    turns = phase("its overlay shown for the first time")
    turns.take(lambda: shell.review.showResult(news[-1].segmentation))


def _review(shell: Any, phase: Any) -> None:
    """Finding by finding, with a verdict each; the views draw in between, which is Slicer's own time."""
    import slicer

    for _number in range(5):
        phase("next finding").take(shell.review.next)
        slicer.app.processEvents()
        phase("verdict").take(shell.review.accept)


if __name__ == "__main__":
    main()
