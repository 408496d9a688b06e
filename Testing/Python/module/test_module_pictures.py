"""What the views show of a result, against a stored picture: CT, confidence, outlines, legend, marks in 3D.

`PESEMISEG_STORE_PICTURES=1 pytest Testing/Python/module/test_module_pictures.py` stores it anew: look at it.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STORED = Path(__file__).with_name("pictures") / "views.png"
SIDE = 280
VIEWS = ("Red", "Green", "Yellow", "3D")


@pytest.fixture
def views(shell: Any, chest: np.ndarray, tmp_path: Path, host: Any) -> np.ndarray:
    """Four views of a chest with two findings, the first one looked at; uint8 (2 SIDE, 2 SIDE, 3)."""
    import json

    import slicer
    from PESemiSegUI import scene, self_test

    affine = np.diag([-3.0, -3.0, 5.0, 1.0])
    affine[:3, 3] = [120.0, 96.0, -35.0]
    volume = slicer.util.addVolumeFromArray(chest, affine, "CT")
    volume.GetDisplayNode().SetAutoWindowLevel(0)
    volume.GetDisplayNode().SetWindowLevel(600, 200)
    folder = tmp_path / "job"
    folder.mkdir()
    self_test.writeResult(folder, affine.tolist())
    z, y, x = np.ogrid[:14, :64, :80]
    labels = np.zeros(chest.shape, np.uint8)
    rows = json.loads((folder / "findings.json").read_text())
    for number, (k, j, i) in enumerate(((7, 28, 58), (5, 30, 22)), start=1):
        labels[((z - k) * 5 / 9) ** 2 + ((y - j) / 4) ** 2 + ((x - i) / 3) ** 2 < 1] = number
        where = np.argwhere(labels == number)
        box = [[int(a), int(b) + 1] for a, b in zip(where.min(0), where.max(0), strict=True)]
        r, a, s = (affine @ [i, j, k, 1.0])[:3]
        place = {"centroid_l_mm": -r, "centroid_p_mm": -a, "centroid_s_mm": s}
        rows["findings"][number - 1] |= {"box_kji": box, **place}
    (folder / "findings.json").write_text(json.dumps(rows))
    far = np.sqrt(((z - 7) * 5 / 3) ** 2 + (y - 28) ** 2 + (x - 58) ** 2)
    confidence = np.clip(1 - far / 9, 0, 1).astype(np.float32)
    for name, array in (("labels", labels), ("confidence", confidence), ("near", confidence)):
        np.save(folder / f"{name}.npy", array)
    node = scene.importResult(volume, folder, "segment-000000000000")
    shell.review.showResult(node)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    shell.review._table.selectSegment("PE_1")
    shell.review._onRow()
    manager = slicer.app.layoutManager()
    pictures = [
        host.picture(manager.sliceWidget(name).sliceView(), SIDE, SIDE) for name in ("Red", "Green", "Yellow")
    ]
    space = manager.threeDWidget(0).threeDView()
    host.picture(space, SIDE, SIDE)
    space.resetFocalPoint()
    pictures.append(host.picture(space, SIDE, SIDE))
    return np.concatenate([np.concatenate(pair, axis=1) for pair in (pictures[:2], pictures[2:])], axis=0)


def differences(found: np.ndarray, stored: np.ndarray) -> dict[str, tuple[float, float]]:
    """For each view the mean difference in grey values, and the share of pixels that clearly differ."""
    result = {}
    for number, name in enumerate(VIEWS):
        rows = slice(SIDE * (number // 2), SIDE * (number // 2 + 1))
        columns = slice(SIDE * (number % 2), SIDE * (number % 2 + 1))
        gap = np.abs(found[rows, columns].astype(int) - stored[rows, columns]).max(axis=2)
        result[name] = float(gap.mean()), float((gap > 40).mean())
    return result


def test_views_look_as_stored(views: np.ndarray) -> None:
    from PIL import Image

    if os.environ.get("PESEMISEG_STORE_PICTURES"):
        STORED.parent.mkdir(exist_ok=True)
        Image.fromarray(views).save(STORED, optimize=True)
    stored = np.asarray(Image.open(STORED).convert("RGB"))
    assert stored.shape == views.shape
    for name, (mean, share) in differences(views, stored).items():  # another Mesa, another font: a little
        assert mean < 3.0, name
        assert share < 0.02, name
    shifted = np.roll(stored, 4, axis=1)  # the tolerance would not let a wrong place pass
    assert max(share for _mean, share in differences(shifted, stored).values()) > 0.04
