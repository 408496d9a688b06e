"""Which segments of a segmentation are emboli: by their codes, else by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from PESemiSegLib.errors import InputError

EMBOLUS_CODES = {
    ("SCT", "55584005"),  # Embolus
    ("SCT", "59282003"),  # Pulmonary embolism
    ("SCT", "396339007"),  # Thrombus
    ("SRT", "M-35300"),  # Embolus
    ("SRT", "M-35100"),  # Thrombus
}
_NAMES = re.compile(r"embol|thromb|clot|(^|[^a-z])pe([^a-z]|$)", re.IGNORECASE)
_ANYTHING = {("SCT", "85756007"), ("SRT", "T-D0050")}  # Tissue: what Slicer gives a segment by default


@dataclass(frozen=True)
class Segment:
    """One segment: its number in the file, its name, and the code of its type as (scheme, value)."""

    number: int
    name: str
    code: tuple[str, str] | None = None


def called_embolus(name: str) -> bool:
    """Whether a label's name says embolus, thrombus, clot or PE."""
    return bool(_NAMES.search(name))


def emboli(segments: Sequence[Segment], file_name: str) -> list[Segment]:
    """The segments that are emboli; a single one without a meaning of its own is taken for them.

    Raises InputError where none can be told, with the names that there are.
    """
    coded = [s for s in segments if s.code in EMBOLUS_CODES]
    if coded:
        return coded
    meaningless = [s for s in segments if s.code is None or s.code in _ANYTHING]
    named = [s for s in meaningless if called_embolus(s.name)]
    if named:
        return named
    if len(segments) == 1 and meaningless:
        return list(segments)
    names = ", ".join(s.name for s in segments) or "none"
    raise InputError(
        f"{file_name} has no segment that is an embolus (there is: {names}); set its terminology"
    )
