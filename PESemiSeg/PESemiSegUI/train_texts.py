"""Owns the sentences of a fine-tuning: how far it is, what the health monitor says, the plan, the verdict."""

from slicer.i18n import tr as _

from PESemiSegLib.jobs.status import CANCELLED, DONE, PAUSED
from PESemiSegLib.jobs.watch import Snapshot

from . import wording


def progress(seen: Snapshot) -> str:
    """How far the run is, and how long it will take."""
    status = seen.status
    text = wording.stage(status.stage) if status.stage else wording.state(seen.state)
    if status.total:
        text = _("{stage}: {done} of {total}").format(stage=text, done=status.done, total=status.total)
    if status.seconds_left is not None:
        text += ", " + _("{time} left").format(time=wording.duration(status.seconds_left))
    return text


def ended(seen: Snapshot) -> str:
    """What came of it."""
    if seen.state == DONE:
        dry = seen.job.params.get("dry_run")
        return _("The dry run went well.") if dry else _("Done: the new model is ready.")
    if seen.state == PAUSED:
        return _("Paused. Resume goes on where it stopped.")
    if seen.state == CANCELLED:
        return _("Cancelled.")
    why = " ".join([seen.message, *seen.log_tail[-2:]]).strip()
    return _("It did not work: {why}").format(why=why)


def report(seen: "Snapshot | None", log: str) -> str:
    """Versions, the run's settings and its log, for a bug report; no patient data."""
    lines = [wording.versions()]
    if seen is not None:
        params, status = seen.job.params, seen.status
        told = ("device", "preset", "strategy", "overrides", "dry_run")
        lines.append(f"{seen.job.kind}: {', '.join(f'{k} {params[k]}' for k in told if params.get(k))}")
        lines.append(f"{seen.state} at {status.stage} {status.done}/{status.total}: {seen.message}")
    return "\n".join([*lines, log])


def health(event: dict) -> str:
    """The health monitor's sentences, those that call for action first."""
    bad, all_ = event.get("warnings") or (), event.get("sentences") or ()
    return "\n".join([f"⚠ {text}" for text in bad] + [text for text in all_ if text not in bad])


def plan(found: dict) -> str:
    """What a dry run found: time, memory, and which term begins when."""
    memory = found.get("memory_mb")
    size = "" if memory is None else _(", {size} of memory").format(size=wording.size(memory * 1e6))
    first = _("About {time}{memory}.").format(time=wording.duration(3600 * found["hours"]), memory=size)
    return "\n".join([first, *found.get("timeline", ())])
