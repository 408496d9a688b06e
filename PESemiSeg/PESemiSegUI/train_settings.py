"""Owns what a fine-tuning is told: the job's parameters, the same as a command line, and what is missing."""

import re
import shlex
from pathlib import Path

from slicer.i18n import tr as _

from . import models

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def params(ui, labelled: Path, unlabelled: Path, dry: bool = False) -> dict:
    """Parameters of the fine-tune job, from the panel's widgets."""
    settings = {"max_minutes": 60 * ui.hoursSpin.value} if ui.hoursSpin.value > 0 else {}
    found = {
        "base": ui.baseCombo.currentData,
        "labelled": labelled,
        "unlabelled": [str(unlabelled)],
        "device": ui.trainDeviceCombo.currentData,
        "name": ui.nameEdit.text,
        "overrides": settings,
        "preset": ui.presetCombo.currentData or None,
        "strategy": ui.strategyCombo.currentData or None,
        "dry_run": dry or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def command(ui, labelled: Path, unlabelled: Path) -> str:
    """The command line of the same run, for a cluster."""
    told = params(ui, labelled, unlabelled)
    base = next(entry.folder for entry in models.entries() if entry.name == told["base"])
    words = ["pesemiseg", "finetune", "--base", str(base), "--labelled", str(labelled)]
    words += ["--unlabelled", str(unlabelled), "--device", told["device"], "--name", told["name"]]
    for name in ("preset", "strategy"):
        words += [f"--{name}", told[name]] if name in told else []
    if "max_minutes" in told["overrides"]:
        words += ["--minutes", f"{told['overrides']['max_minutes']:g}"]
    return shlex.join([*words, "-o", "RUN"])


def whyNot(ui, patients: dict[str, int], probe: dict) -> str:
    """Why no fine-tuning can start now; empty where one can."""
    name, training = ui.nameEdit.text, probe.get("training", {})
    if training and not training.get("usable"):
        return _("This Python cannot train: {why} (see Environment)").format(why=training.get("why", ""))
    if not patients["labelled"]:
        return _("Add labelled patients first: they stay in the loop")
    if not patients["unlabelled"]:
        return _("Add scans without labels first: they are what is learnt from")
    if not _NAME.fullmatch(name) or ".." in name:
        return _("Give the new model a name of letters, digits, dot, dash or underscore")
    if any(entry.name == name for entry in models.entries()):
        return _("There is a model of this name already")
    return ""
