"""The stand-in job: counts slowly, keeps a checkpoint, and misbehaves in every way that is asked of it.

For tests of watchers and panels; it needs nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from PESemiSegLib.errors import InputError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.files import read_json, write_json

_CHECKPOINT, _RESULT = "counter.json", "slept.json"


def work(context: Context) -> list[Path]:
    """Count to `steps`, `step_s` seconds each, with a checkpoint every `checkpoint_every` steps.

    Further parameters: `children` (processes that sleep beside it), `deaf` (never asks whether to stop),
    `say` (a line for the log), and at step `at` one of `then`: "error", "defect", "crash", "memory", "die".
    Raises what `then` asks for, and Cancelled.
    """
    wanted = context.params
    steps, pause_s = int(wanted.get("steps", 10)), float(wanted.get("step_s", 0.05))
    every = int(wanted.get("checkpoint_every", 1))
    done = int((read_json(context.folder / _CHECKPOINT) or {}).get("done", 0))
    context.event("resumed", done=done)
    for _ in range(int(wanted.get("children", 0))):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if text := wanted.get("say"):
        sys.stdout.write(f"{text}\n")
    while done < steps:
        if done == wanted.get("at"):
            _misbehave(str(wanted.get("then", "")))
        time.sleep(pause_s)
        done += 1
        context.progress("count", done, steps, (steps - done) * pause_s)
        stop = not wanted.get("deaf") and (context.cancelled() or context.enough())
        if stop or done % every == 0:
            write_json(context.folder / _CHECKPOINT, {"done": done}, durable=True)
            context.event("checkpoint", done=done)
        if stop:
            context.check()
            break
    write_json(context.folder / _RESULT, {"steps": done})
    return [context.folder / _RESULT]


def _misbehave(how: str) -> None:
    if how == "error":
        raise InputError("the stand-in job was asked to refuse")
    if how == "defect":
        raise ZeroDivisionError("the stand-in job was asked for a defect")
    if how == "memory":
        raise MemoryError
    if how == "crash":
        os.abort()
    if how == "die":
        os._exit(9)
