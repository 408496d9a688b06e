"""Values of a DICOM data set, read leniently: what cannot be read counts as missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

TEXT_VRS = ("DS", "IS", "CS", "UI", "TM", "DT")


def text(ds: Dataset, keyword: str) -> str:
    """A value as text, several joined by a backslash; empty where missing or not readable."""
    return "\\".join(_strings(ds, keyword))


def integer(ds: Dataset, keyword: str) -> int | None:
    value = number(ds, keyword)
    return None if value is None else int(value)


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value as a finite number; None where missing or not a number."""
    return next(iter(_numbers(ds, keyword)), None)


def numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    values = tuple(_numbers(ds, keyword))
    return values if len(values) == count else None


def _numbers(ds: Dataset, keyword: str) -> Iterator[float]:
    for part in _strings(ds, keyword):
        try:
            value = float(part.replace(",", "."))  # some sites write a decimal comma
        except ValueError:
            return
        if not math.isfinite(value):
            return
        yield value


@cache
def tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    """The tag of a keyword and its VR by the dictionary (looked up once: headers come by the hundred)."""
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return tag, dictionary_VR(tag)


def _strings(ds: Dataset, keyword: str) -> list[str]:
    tag, usual_vr = tag_and_vr(keyword)
    try:
        element = ds.get_item(tag)
        if element is None or element.value is None:
            return []
        if isinstance(element.value, bytes) and (element.VR or usual_vr) in TEXT_VRS:
            value: Any = element.value.decode("ascii", "replace").split("\\")
        else:
            value = ds[tag].value
    except Exception:  # a value that cannot be decoded is a missing value
        return []
    if value is None:
        return []
    several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    return [part for part in (str(v).strip(" \0") for v in (value if several else [value])) if part]
