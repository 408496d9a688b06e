"""How processes find each other: on the loopback of a shared machine, and not by what dead ones have left."""

from __future__ import annotations

import os
import secrets
import socket
import time
from datetime import timedelta

import torch.distributed as dist

PATIENCE = timedelta(days=1)
"""How long processes wait for one that prepares or measures. Of one that died they hear at once."""
_ASK_AGAIN_S = 0.1
_CALL, _PREPARED = "pesemiseg/call", "pesemiseg/prepared"


def launchers_store() -> dist.Store:
    """What torchrun keeps for its processes, through all of their restarts."""
    from torch.distributed.rendezvous import rendezvous  # not in every build

    store: dist.Store = next(rendezvous("env://"))[0]
    store.set_timeout(PATIENCE)
    return store


def note_prepared() -> None:
    """Remember, as long as this torchrun goes on, that the run's folder is its own."""
    launchers_store().set(_PREPARED, "")


def was_prepared() -> bool:
    """Whether processes that this torchrun started before had prepared the run."""
    return launchers_store().check([_PREPARED])


def shared_by_those_alive(store: dist.Store, number: int, processes: int) -> dist.Store:
    """A part of the launcher's store that is new, and the same in all processes that run now.

    The store outlives a restart, and the addresses of the dead with it; what torchrun says of restarts is
    counted on each machine by itself. So the first process calls the others by a name that it draws, and lets
    in whoever answers to that name, each by a name of its own.
    """
    own = secrets.token_hex(8)
    if number == 0:
        store.set(_CALL, own)
        for other in range(1, processes):
            answer = store.get(f"{own}/{other}").decode()
            store.set(f"{own}/{answer}", "")
        return dist.PrefixStore(f"{own}/group", store)
    while True:
        called = store.get(_CALL).decode()
        store.set(f"{called}/{number}", own)
        if store.check([f"{called}/{own}"]):
            return dist.PrefixStore(f"{called}/group", store)
        time.sleep(_ASK_AGAIN_S)  # that one has been dead for long, or is not as far


def keep_to_this_machine() -> None:
    """Have gloo listen on the loopback, not where the host's name points to.

    GLOO_SOCKET_IFNAME, where it is set, has its way; Windows knows no such names.
    """
    known = {name for _, name in socket.if_nameindex()}
    for loopback in known & {"lo", "lo0"}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
