"""Several processes as one trainer: all hold the same, also after a resume; whom they meet, and where."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import AugmentConfig
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledCrops
from PESemiSegLib.errors import Cancelled, InputError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training import meeting, parallel
from PESemiSegLib.training import trainer as trainer_room
from PESemiSegLib.training.config import LessonsConfig, TrainConfig
from PESemiSegLib.training.crops import Crops
from PESemiSegLib.training.settings import MeanTeacherConfig, SemiConfig
from PESemiSegLib.training.trainer import Trainer

CONFIG = TrainConfig(
    strategy="mean_teacher",  # it reads its teacher in evaluation mode, by the norms' running statistics
    network=NetworkConfig(width=4, upsample="bilinear"),
    discriminator=DiscriminatorConfig("mask_only", channels=(4,)),
    sampling=SamplingConfig(batch=1, crop=32, replay=0.5, augment=AugmentConfig()),
    semi=SemiConfig(batch=1, mean_teacher=MeanTeacherConfig(ramp=0.0, weight=5.0)),
    finish=LessonsConfig(iterations=1, batch=1, crop=32),
    iterations=4,
    ema_decay=0.9,
    validate_every=4,
    checkpoint_every=4,
)


_LOOPBACK = ("0100007F", "00000000000000000000000001000000")  # as the kernel writes 127.0.0.1 and ::1


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


def _open_to_others() -> list[str]:
    """Where this process listens, but for the loopback; as in /proc/net/tcp, which only Linux has."""
    tables = [Path(f"/proc/self/net/{name}") for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    own = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()} if rows else ()
    places = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]
    return [place for place in places if place.rpartition(":")[0] not in _LOOPBACK]


def _stop_and_go_on(folder: Path) -> None:
    """Run in each process: a whole run, one in two parts, and what differs between those or the processes."""
    torch.set_num_threads(1)
    trainer_room._STRETCH = 3  # type: ignore[misc]  # hard spots are renewed once, after the stop
    whole = _trainer(folder / "whole")
    whole.run()
    with pytest.raises(Cancelled):
        _trainer(folder / "parts", stop_at=2).run()
    dist.barrier()  # the first process writes what both read
    second = _trainer(folder / "parts")
    second.resume()
    second.run()
    held, again = _held(whole), _held(second)
    own = torch.cat([value.double().flatten() for value in held.values()]).numpy()[None]
    told = [f"listens on {place}" for place in _open_to_others()]
    if sys.platform != "win32" and "GLOO_SOCKET_IFNAME" not in os.environ:
        told.append("listens wherever the host's name points to")
    told += [f"resumed: {name}" for name, value in held.items() if not torch.equal(value, again[name])]
    everyone = parallel.gather(own)
    if (everyone != everyone[0]).any():
        told.append("the processes differ")
    if not len(whole.crops.train.hard):
        told.append("no hard spots: the test asks nothing of them")
    (folder / f"{parallel.rank()}.txt").write_text("\n".join(told))


def test_processes_hold_the_same_and_go_on_bit_for_bit(tmp_path: Path) -> None:
    parallel.launch(_stop_and_go_on, (tmp_path,), 2, tmp_path / ".meeting")
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["", ""]


def _told(store: dist.TCPStore, number: int, late_s: float, word: str) -> str:
    """What the other of two processes says to this one, through the part of the store that they share."""
    time.sleep(late_s)
    own = dist.TCPStore(store.host, store.port, is_master=False)
    shared = meeting.shared_by_those_alive(own, number, 2)
    shared.set(str(number), word)
    return shared.get(str(1 - number)).decode()


@pytest.mark.parametrize("late_s", [(0.0, 0.7), (0.7, 0.0)])
def test_the_addresses_of_the_dead_are_not_heard(late_s: tuple[float, float]) -> None:
    """torchrun keeps one store: who comes first after a restart finds what was told before it."""
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    for start in ("first", "second"):
        with ThreadPoolExecutor(2) as pool:
            words = [f"{start} of {number}" for number in range(2)]
            heard = list(pool.map(partial(_told, store), range(2), late_s, words))
        assert heard == words[::-1]


def test_a_run_that_was_refused_is_not_gone_on_with_at_the_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    place = {"MASTER_ADDR": store.host, "MASTER_PORT": store.port, "RANK": 0, "WORLD_SIZE": 1}
    for name, value in (place | {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_USE_AGENT_STORE": True}).items():
        monkeypatch.setenv(name, str(value))

    def refuse() -> None:
        raise InputError("holds a run already")

    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(InputError):
        parallel.from_first(refuse)
    assert not parallel.restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")  # it is counted on each machine by itself
    assert parallel.from_first(lambda: 3) == 3
    assert parallel.restarted()
