"""Owns the sentences of the Segment panel: how far a run is, what came of it, and the report of a problem."""

from slicer.i18n import tr as _

from PESemiSegLib.models.kinds import EMBOLI

from . import models, scene, wording
from .scan_run import News


def whyNot(volume, entry, device: str) -> str:
    """Why nothing can be segmented now; empty where it can. `device`: why the chosen one cannot be used."""
    if volume is None:
        return _("Choose a CT volume first, or load one")
    if volume.GetImageData() is None:
        return _("This volume holds no image")
    if entry is None or entry.info is None:
        return _("Choose a model that can be used")
    return device


def modelMark(entry, wanted: str) -> "tuple[str, bool]":
    """What stands under the model's name, and whether it must be read; `wanted`: the model of the scene."""
    if entry is None:
        return _("There is no model: import one."), True
    text, mind = models.mark(entry), entry.info is None or entry.madeUpOnly
    if wanted and wanted != entry.name:
        other = _("The scene's model {name} is not on this list: {shown} is taken instead.")
        return other.format(name=wanted, shown=entry.name) + " " + text, True
    return text, mind


def buttonText(entry) -> str:
    """What the button says that starts a run: "Segment PE", or what else the model marks."""
    if entry is None or entry.info is None or entry.info.what is EMBOLI:
        return _("Segment PE")
    return _("Segment {what}").format(what=wording.kind(entry.info.what.name))


def ownPoint(info, own: bool) -> "tuple[str, str]":
    """What a run takes where the boxes of the threshold and of the core are off; `own`: the former is on."""
    off, core = _("Off: the model's own operating point, {value}"), info.core_threshold or info.threshold
    tips = [off.format(value=f"{value:g}") for value in (info.threshold, core)]
    return tips[0], _("Off: no core; the model's goes with its own threshold alone") if own else tips[1]


def progress(news: News) -> str:
    """How far the run is, and how long it will take."""
    text = wording.stage(news.stage)
    if news.total:
        text = _("{stage}: {done} of {total}").format(stage=text, done=news.done, total=news.total)
    if news.seconds_left is not None and news.done:
        text += ", " + _("{time} left").format(time=wording.duration(news.seconds_left))
    return text


def finished(news: News) -> str:
    """What was found, with what the input check had to say."""
    rows = scene.rowsOf(news.segmentation)
    text = _("Findings: {n}.").format(n=len(rows)) if rows else noFinding()
    if news.sentences:
        text += " " + _("Mind the input check: {what}").format(what=" ".join(news.sentences))
    return text


def noFinding() -> str:
    """The sentence that must not be read as an all-clear."""
    return _("No finding. This does not rule out an embolism.")


def report(ui, model: str) -> str:
    """Versions, settings and the log, for a bug report; no patient data."""
    lines = [
        wording.versions(),
        f"model {model}, device {ui.deviceCombo.currentText}, precision {ui.precisionCombo.currentText}",
        f"status: {ui.statusLabel.text}",
        ui.logText.plainText,
    ]
    return "\n".join(lines)
