"""Owns how numbers are spoken in the panels: times, sizes, volumes."""

from slicer.i18n import tr as _


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


def side(code: str) -> str:
    """Where a finding lies, as the library names it, in the user's language."""
    return {"left": _("left"), "right": _("right"), "central": _("central")}.get(code, code)


def stage(name: str) -> str:
    """What a job is doing, as the library names it, in the user's language."""
    known = {
        "read": _("Reading the scan"),
        "check": _("Checking the input and finding the lungs"),
        "load": _("Loading the model"),
        "slices": _("Marking slices"),
        "findings": _("Collecting the findings"),
        "write": _("Writing the result"),
        "cache": _("Preparing the patients"),
        "train": _("Training"),
        "lessons": _("Training the discriminator"),
        "export": _("Writing the model"),
        "judge": _("Comparing before and after"),
        "rehearse": _("Trying two batches"),
    }
    return known.get(name, name.capitalize())
