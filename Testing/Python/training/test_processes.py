"""Several processes as one trainer: all hold the same, also after a resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import AugmentConfig
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledCrops
from PESemiSegLib.errors import Cancelled
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training import parallel
from PESemiSegLib.training import trainer as trainer_room
from PESemiSegLib.training.config import FinishConfig, TrainConfig
from PESemiSegLib.training.settings import MeanTeacherConfig, SemiConfig
from PESemiSegLib.training.trainer import Crops, Trainer

CONFIG = TrainConfig(
    strategy="mean_teacher",  # it reads its teacher in evaluation mode, by the norms' running statistics
    network=NetworkConfig(width=4, upsample="bilinear"),
    discriminator=DiscriminatorConfig("mask_only", channels=(4,)),
    sampling=SamplingConfig(batch=1, crop=32, replay=0.5, augment=AugmentConfig()),
    semi=SemiConfig(batch=1, mean_teacher=MeanTeacherConfig(ramp=0.0, weight=5.0)),
    finish=FinishConfig(iterations=1, batch=1, crop=32),
    iterations=4,
    ema_decay=0.9,
    validate_every=4,
    checkpoint_every=4,
)


def _volume(seed: int) -> CachedVolume:
    rng = np.random.default_rng(seed)
    hu = rng.normal(-800, 60, (8, 64, 64)).astype(np.int16)
    mask = np.zeros(hu.shape, np.uint8)
    for z, y, x in ((2, 10, 10), (3, 30, 40), (5, 44, 20), (6, 20, 50)):
        hu[z, y - 5 : y + 5, x - 5 : x + 5] = 300
        mask[z, y - 3 : y + 3, x - 3 : x + 3] = 1
    return CachedVolume("A", hu, mask, find_anchors(hu, mask, (1.0, 2.0), rng), 1.0, 2.0)


def _trainer(folder: Path, stop_at: int = 0) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    known = LabelledCrops([_volume(1)], CONFIG.sampling, 1)
    strange = UnlabelledCrops([_volume(2)], replace(CONFIG.sampling, batch=CONFIG.semi.batch), 2)
    made = Trainer(
        CONFIG,
        Crops(known, None, strange),
        folder,
        cancelled=lambda: 0 < stop_at <= made.iteration,
    )
    return made


def _held(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that a process holds and learns with."""
    held = {"hard": torch.from_numpy(trainer.crops.train.hard.state())}
    for name, learner in trainer.strategy.learners.items():
        held |= {f"{name}/{key}": value for key, value in learner.state()[0].items()}
    for name, average in (trainer.strategy.averages | {"average": trainer.average}).items():
        held |= {f"{name}/{key}": value for key, value in average.state().items()}
    return dict(sorted(held.items()))


def _stop_and_go_on(folder: Path) -> None:
    """Run in each process: a whole run, one in two parts, and what differs between those or the processes."""
    torch.set_num_threads(1)
    trainer_room._STRETCH = 3  # type: ignore[misc]  # hard spots are renewed once, after the stop
    whole = _trainer(folder / "whole")
    whole.run()
    with pytest.raises(Cancelled):
        _trainer(folder / "parts", stop_at=2).run()
    second = _trainer(folder / "parts")
    second.resume()
    second.run()
    held, again = _held(whole), _held(second)
    own = torch.cat([value.double().flatten() for value in held.values()]).numpy()[None]
    told = [f"resumed: {name}" for name, value in held.items() if not torch.equal(value, again[name])]
    everyone = parallel.gather(own)
    if (everyone != everyone[0]).any():
        told.append("the processes differ")
    if not len(whole.crops.train.hard):
        told.append("no hard spots: the test asks nothing of them")
    (folder / f"{parallel.rank()}.txt").write_text("\n".join(told))


def test_processes_hold_the_same_and_go_on_bit_for_bit(tmp_path: Path) -> None:
    parallel.launch(_stop_and_go_on, (tmp_path,), 2, tmp_path / ".meeting")
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["", ""]
