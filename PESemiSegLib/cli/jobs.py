"""Owns `pesemiseg jobs`: list, start, watch, cancel, pause, resume and remove background jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli import console
from PESemiSegLib.cli.options import print_json

if TYPE_CHECKING:
    from PESemiSegLib.jobs.watch import Snapshot, Watch

app = typer.Typer(no_args_is_help=True, help="List, watch, cancel and remove background jobs.")

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="Its id, the beginning of it, or its folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PythonOption = Annotated[Path | None, typer.Option(help="Python that computes. Default: this one.")]
_POLL_S = 0.25


@app.command("list")
def list_jobs(as_json: JsonOption = False) -> None:
    """List all jobs, the newest first."""
    from PESemiSegLib.jobs import places, runner
    from PESemiSegLib.jobs.watch import look

    seen = [look(job) for job in runner.jobs()]
    if as_json:
        print_json({"jobs": [_brief(snapshot) for snapshot in seen]})
    elif not seen:
        print(f"no jobs in {places.jobs_folder()}")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("Job", "State", "Progress", "Age", "Message", box=None, pad_edge=False)
        for snapshot in seen:
            age = console.spoken_time(max(0.0, time.time() - snapshot.job.created_s))
            table.add_row(snapshot.job.id, snapshot.state, _progress(snapshot), age, snapshot.message)
        Console().print(table)


@app.command("start")
def start_job(
    description: Annotated[
        Path, typer.Argument(metavar="FILE", help='JSON: {"kind": ..., "params": {...}}; see Docs/jobs.md.')
    ],
    folder: Annotated[
        Path | None, typer.Option(help="New folder for the job. Default: among all jobs.")
    ] = None,
    python: PythonOption = None,
) -> None:
    """Start a job that a JSON file describes, and return at once; prints its id."""
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.files import read_json
    from PESemiSegLib.jobs.folder import Job

    told = read_json(description)
    if told is None or not isinstance(told.get("params", {}), dict):
        raise InputError(f"{description.name} holds no JSON object with kind and params")
    job = Job.create(str(told.get("kind")), told.get("params", {}), folder=folder, outlives=True)
    runner.start(job, python=python)
    print(job.id)


@app.command()
def watch(job: JobArgument) -> None:
    """Show a job's progress until it ends. Ctrl-C stops the watching, not the job."""
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.watch import Watch

    _follow(Watch(runner.find(job), from_end=True))


@app.command()
def cancel(job: JobArgument) -> None:
    """Stop a job: politely for two seconds, then with all its processes."""
    from PESemiSegLib.jobs import runner

    found = runner.find(job)
    seen = runner.cancel(found)
    print(f"{found.id} is {seen.state}")


@app.command()
def pause(job: JobArgument) -> None:
    """Let a training save its checkpoint and end; `resume` goes on from there."""
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.watch import Watch

    watching = Watch(runner.find(job), from_end=True)
    watching.pause()
    _follow(watching)


@app.command()
def finish(job: JobArgument) -> None:
    """Let a training end here as if its time were up, and write its model."""
    from PESemiSegLib.jobs import runner
    from PESemiSegLib.jobs.watch import Watch

    watching = Watch(runner.find(job), from_end=True)
    watching.finish()
    _follow(watching)


@app.command()
def resume(job: JobArgument, python: PythonOption = None) -> None:
    """Start a paused, stopped or failed job again; training goes on from its last checkpoint."""
    from PESemiSegLib.jobs import runner

    found = runner.find(job)
    runner.start(found, python=python)
    print(f"{found.id} is started")


@app.command()
def remove(job: JobArgument) -> None:
    """Delete a job that is not running, with its results."""
    from PESemiSegLib.jobs import runner

    found = runner.find(job)
    if runner.remove(found):
        print(f"removed {found.id}")
    else:
        print(f"forgot {found.id}; its files stay in {found.folder}")


def _follow(watching: Watch) -> None:
    """Tell of a job until it ends; exits with the code of its outcome."""
    from PESemiSegLib.jobs.status import CANCELLED, CREATED, DONE, PAUSED

    told = ""
    while True:
        seen = watching.poll()
        if seen.state == CREATED:
            console.say("created, but not started")
            raise typer.Exit(console.EXIT_REFUSED)
        line = f"{seen.state} {_progress(seen)}".strip()
        if line != told:
            told = line
            console.say(line)
        if seen.ended:
            break
        time.sleep(_POLL_S)
    for text in (seen.message, *seen.log_tail):
        if text:
            console.say(text)
    if seen.state not in (DONE, PAUSED):
        raise typer.Exit(console.EXIT_CANCELLED if seen.state == CANCELLED else console.EXIT_REFUSED)


def _progress(seen: Snapshot) -> str:
    status = seen.status
    if not seen.active or not status.stage:
        return ""
    count = f" {status.done}/{status.total}" if status.total else ""
    left = f", {console.spoken_time(status.seconds_left)} left" if status.seconds_left else ""
    return f"{status.stage}{count}{left}"


def _brief(seen: Snapshot) -> dict[str, Any]:
    """What `list --json` says of one job: nothing of its parameters, which may hold names."""
    status = seen.status
    return {
        "id": seen.job.id,
        "kind": seen.job.kind,
        "state": seen.state,
        "message": seen.message,
        "stage": status.stage,
        "done": status.done,
        "total": status.total,
        "seconds_left": status.seconds_left,
        "created_s": seen.job.created_s,
        "folder": str(seen.job.folder),
    }
