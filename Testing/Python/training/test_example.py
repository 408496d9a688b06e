"""The example slice of a run: the same crop each time, the label and the marks where they belong."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from PESemiSegLib.cohorts.sampling import LabelledBatch
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.example import Examples, picture

BLUE, ORANGE = (0, 158, 255), (255, 140, 0)


class Bright(torch.nn.Module):
    """Marks what is brighter than 0.5 in the middle slice."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 1:2] - 0.5


def batches(number: int) -> LabelledBatch:
    """Two crops of three slices; of sixteen the second crop of the fourth batch has the largest mark."""
    image = np.full((2, 3, 32, 32), -1.0, np.float32)
    mask = np.zeros((2, 1, 32, 32), np.float32)
    mask[:, 0, 4:6, 4:6] = 1
    if number == 3:
        mask[1, 0, 10:20, 12:24] = 1
        image[1, 1, 12:22, 12:24] = 0.9
    empty = np.zeros(2, np.int64)
    fields = {"volume": empty, "z": empty, "transform": np.zeros((2, 2, 3), np.float32)}
    return LabelledBatch(image, mask, **fields)


def trainer(iteration: int) -> Any:
    device = torch.device("cpu")
    return SimpleNamespace(average=WeightAverage(Bright(), 0.0), device=device, iteration=iteration)


def test_the_largest_mark_is_drawn_with_label_and_marks(tmp_path: Path) -> None:
    examples = Examples(tmp_path, SimpleNamespace(batch=batches))  # type: ignore[arg-type]
    first, second = examples.draw(trainer(10)), examples.draw(trainer(20))
    assert first == tmp_path / "examples" / "000010.png"
    assert second is not None
    pixels = np.asarray(Image.open(first))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(second)))
    assert pixels.shape == (64, 64, 3)
    marks, label = (pixels == ORANGE).all(axis=2), (pixels == BLUE).all(axis=2)
    assert marks[24, 24:48].all()  # the upper edge of rows 12 to 21, twice as large
    assert marks[43, 24:48].all()
    assert label[20, 24:48].all()  # that of the label begins at row 10
    assert not marks[30, 30]
    assert tuple(pixels[30, 30]) == (242, 242, 242)
    assert tuple(pixels[60, 60]) == (0, 0, 0)


def test_nothing_marked_and_everything_marked() -> None:
    grey = np.zeros((4, 4))
    nothing = picture(grey, np.zeros((4, 4), bool), np.zeros((4, 4), bool))
    assert (nothing == 127).all()
    everything = picture(grey, np.zeros((4, 4), bool), np.ones((4, 4), bool))
    assert (everything[0] == ORANGE).all()
    assert (everything[1:-1, 1:-1] == 127).all()


def test_a_full_disk_ends_no_training(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    examples = Examples(tmp_path, SimpleNamespace(batch=batches))  # type: ignore[arg-type]
    assert examples.draw(trainer(1)) is None
