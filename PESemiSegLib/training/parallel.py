"""Several processes as one trainer: each draws its own crops, what they learn is averaged, all stay equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from PESemiSegLib import errors
from PESemiSegLib.training import meeting

T = TypeVar("T")
_STATISTICS = ("running_mean", "running_var")  # of the norms
_GRACE_S = 20.0  # for the other processes to end by themselves, once one has failed or been stopped


def rank() -> int:
    """This process's number; 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average(module: nn.Module) -> None:
    """Replace gradients and the norms' running statistics by their means over the processes, in one message.

    With equal statistics all that reads them (averages, teachers, pseudo labels) is equal, too: the first
    process's checkpoint is that of all.
    """
    if size() == 1:
        return
    values = [p.grad for p in module.parameters() if p.grad is not None]
    values += [b for name, b in module.named_buffers() if name.rpartition(".")[2] in _STATISTICS]
    flat = torch.cat([value.reshape(-1) for value in values])
    dist.all_reduce(flat)
    flat /= size()
    for value, mean in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(mean.view(value.shape))


def agree(*values: float) -> tuple[float, ...]:
    """The largest of each value over the processes, so that all take the same decision."""
    if size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tuple(tensor.tolist())


def gather(rows: np.ndarray) -> np.ndarray:
    """The rows of all processes, (N, columns) each, one process after another, the same on all of them."""
    if size() == 1:
        return rows
    everyone: list[np.ndarray | None] = [None] * size()
    dist.all_gather_object(everyone, rows)
    return np.concatenate([part for part in everyone if part is not None])


@contextmanager
def joined() -> Iterator[None]:
    """Within it this process belongs to the group that `torchrun` started it for; alone if none did."""
    if not by_torchrun():
        yield
        return
    store, own, processes = meeting.launchers_store(), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
        meeting.keep_to_this_machine()
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=meeting.shared_by_those_alive(store, own, processes),
        rank=own,
        world_size=processes,
        timeout=meeting.PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def by_torchrun() -> bool:
    """Whether torch's own launcher started this process, as one of several, on one machine or more."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def restarted() -> bool:
    """Whether that launcher has started all processes again, after it had got as far as training."""
    return by_torchrun() and meeting.was_prepared()


def own_device(device: str) -> str:
    """ "cuda" as the GPU that is this process's own where several share a machine; others as they are."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and by_torchrun() else device


def from_first(act: Callable[[], T]) -> T:
    """What `act()` returns in the first process; the others wait for it. Raises in all what `act` raises.

    That it returned is what `restarted` knows of.
    """
    said: list[Any] = [None]
    if rank() == 0:
        try:
            said = [act()]
        except errors.PESemiSegError as error:
            said = [error]
    if size() > 1:
        dist.broadcast_object_list(said)
    if isinstance(said[0], errors.PESemiSegError):
        raise said[0]
    if rank() == 0 and by_torchrun():
        meeting.note_prepared()
    result: T = said[0]
    return result


def launch(work: Callable[..., None], arguments: tuple[Any, ...], processes: int, place: Path) -> None:
    """Call `work(*arguments)` in fresh processes of this machine, joined through gloo.

    place: a file to meet at.

    An error of the family, raised in a process, is raised here again; others as ProcessRaisedException. On
    KeyboardInterrupt all are asked to stop by SIGTERM, and have some time to save.
    """
    import torch.multiprocessing as multiprocessing

    refusal = place.with_name(place.name + ".error")
    place.unlink(missing_ok=True)
    refusal.unlink(missing_ok=True)
    try:
        team = multiprocessing.spawn(
            _join, (processes, str(place), work, arguments), nprocs=processes, join=False
        )
        try:
            while not team.join(grace_period=_GRACE_S):
                pass
        except KeyboardInterrupt:
            for process in team.processes:
                process.terminate()
            while not team.join(grace_period=_GRACE_S):
                pass
    except multiprocessing.ProcessRaisedException:
        if not refusal.exists():
            raise
        kind, message = refusal.read_text(encoding="utf-8").split("\n", 1)
        raise getattr(errors, kind, errors.PESemiSegError)(message) from None
    finally:
        place.unlink(missing_ok=True)
        refusal.unlink(missing_ok=True)


def _join(
    number: int, processes: int, place: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    meeting.keep_to_this_machine()
    dist.init_process_group(
        "gloo",
        init_method=f"file://{place}",
        rank=number,
        world_size=processes,
        timeout=meeting.PATIENCE,
    )
    try:
        work(*arguments)
    except errors.PESemiSegError as error:
        Path(place + ".error").write_text(f"{type(error).__name__}\n{error}", encoding="utf-8")
        raise
    finally:
        dist.destroy_process_group()
