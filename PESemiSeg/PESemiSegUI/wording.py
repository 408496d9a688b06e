"""Owns how numbers are spoken in the panels: times, sizes, volumes; and the versions of a report."""

import platform

import slicer
from slicer.i18n import tr as _

from PESemiSegLib import __version__


def versions() -> str:
    """What runs here, for the first line of a report; no patient data."""
    return f"PESemiSeg {__version__}, Slicer {slicer.app.applicationVersion}, {platform.platform()}"


def duration(seconds: float) -> str:
    """A time that a person would say."""
    if seconds < 1:
        return _("less than a second")
    if seconds < 90:
        return _("{n} s").format(n=round(seconds))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{n} h").format(n=f"{seconds / 3600:.1f}")


def size(bytes_: float) -> str:
    """An amount of memory or disk."""
    for unit in ("B", "KB", "MB"):
        if bytes_ < 1000:
            return f"{bytes_:.0f} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.1f} GB"


def origin(name: str) -> str:
    """What a model was trained on, as its package names it, in the user's language."""
    known = {
        "phantom": _("made-up patients only"),
        "patients": _("patients"),
        "mixed": _("patients and made-up patients"),
    }
    return known.get(name, name)


def side(code: str) -> str:
    """Where a finding lies, as the library names it, in the user's language."""
    return {"left": _("left"), "right": _("right"), "central": _("central")}.get(code, code)


def kind(name: str) -> str:
    """What a model marks, as the library names it, in the user's language."""
    known = {"emboli": _("emboli"), "arteries": _("arteries"), "opacities": _("opacities")}
    return known.get(name, name)


def stage(name: str) -> str:
    """What a job is doing, as the library names it, in the user's language."""
    known = {
        "read": _("Reading the scan"),
        "check": _("Checking the input and finding the lungs"),
        "load": _("Loading the model"),
        "slices": _("Marking slices"),
        "windows": _("Reading the scan, window by window"),
        "findings": _("Collecting the findings"),
        "write": _("Writing the result"),
        "cache": _("Preparing the patients"),
        "train": _("Training"),
        "lessons": _("Training the discriminator"),
        "export": _("Writing the model"),
        "verdict": _("Comparing before and after"),
        "rehearsal": _("Trying two batches"),
    }
    return known.get(name, name.capitalize())


def role(name: str) -> str:
    """What a scan is for, as the library names it, in the user's language."""
    known = {"labelled": _("labelled"), "unlabelled": _("unlabelled"), "excluded": _("excluded")}
    return known.get(name, name)


def split(name: str) -> str:
    """Which part of a cohort a patient is in."""
    return {"train": _("training"), "val": _("validation"), "test": _("held out")}.get(name, name)


def state(name: str) -> str:
    """How a run stands, as the library names it."""
    known = {
        "created": _("not started"),
        "starting": _("starting"),
        "running": _("at work"),
        "done": _("done"),
        "failed": _("failed"),
        "cancelled": _("cancelled"),
        "paused": _("paused"),
        "lost": _("lost"),
    }
    return known.get(name, name)
