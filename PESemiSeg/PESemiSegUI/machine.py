"""Owns facts about this computer, in QSettings under PESemiSeg/: they belong to no scene."""

import hashlib
import json
import secrets

import qt

ROOT = "PESemiSeg"


def value(name: str, default: str = "") -> str:
    """A stored text; QSettings gives numbers and truth values back as text anyway."""
    stored = qt.QSettings().value(f"{ROOT}/{name}", default)
    return default if stored is None else str(stored)


def setValue(name: str, text: str) -> None:
    """Store a text; an empty one forgets the setting."""
    settings = qt.QSettings()
    if text:
        settings.setValue(f"{ROOT}/{name}", text)
    else:
        settings.remove(f"{ROOT}/{name}")


def python() -> str | None:
    """The Python that computes, where the user chose another one than Slicer's own."""
    return value("python") or None


def secondsPerSlice(model: str, device: str) -> float | None:
    """What a slice took in the last run of this model on this device; None before the first."""
    try:
        return float(value(f"speed/{model}/{device}"))
    except ValueError:
        return None


def rememberSpeed(model: str, device: str, seconds: float) -> None:
    """Keep the seconds per slice of a run."""
    setValue(f"speed/{model}/{device}", f"{seconds:.4f}")


def rememberedProbe() -> dict:
    """The last look at this computer; empty before the first."""
    try:
        facts = json.loads(value("probe", "{}"))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def rememberProbe(facts: dict) -> None:
    """Keep a look at this computer, so that the device box is filled at the next start."""
    setValue("probe", json.dumps(facts))


def pseudonym(text: str) -> str:
    """A word that stands for a text: always the same on this computer, and meaningless on any other."""
    if not value("salt"):
        setValue("salt", secrets.token_hex(16))
    return hashlib.sha256(f"{value('salt')}|{text}".encode()).hexdigest()[:8]
