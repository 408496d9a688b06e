"""Owns the lock that lets one worker, or one starter, at a time into a job folder.

The operating system gives it back when its holder dies, however it dies.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import TracebackType

_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK, getattr(errno, "EDEADLOCK", errno.EDEADLK)}


class FileLock:
    """An exclusive lock on a file, between processes and between handles of one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the lock, waiting up to `wait_s`; whether it was free. Raises OSError.

        On a file system without locks it counts as taken: the heartbeat still shows a second worker.
        """
        deadline = time.monotonic() + wait_s
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                _lock(handle)
            except OSError as error:
                if error.errno in _TAKEN:
                    if time.monotonic() < deadline:
                        time.sleep(0.05)
                        continue
                    os.close(handle)
                    return False
            self._handle = handle
            return True

    def release(self) -> None:
        """Give the lock back; closing the file does it on every system."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
