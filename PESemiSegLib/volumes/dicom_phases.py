"""Several images at one position (4-D, gated, overlapping acquisitions): told apart for sure, or refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import Any

import numpy as np

from .dicom_geometry import SAME_PLACE_MM, is_regular, places
from .dicom_headers import Plane
from .grid import FloatArray

Part = tuple[str, list[Plane]]  # how it was told apart, and its planes sorted along the normal
WIDE_GAP_MM = 30.0  # more than this (and five slices) without an image: separate scan ranges
MOST_PHASES = 40

# What names a phase, and what only orders images in time. Times are trusted only if the phases follow one
# another without mixing.
NAMES: dict[str, Callable[[Plane], Any]] = {
    "temporal position": lambda p: p.phase.get("TemporalPositionIdentifier"),
    "temporal position index": lambda p: p.phase.get("TemporalPositionIndex"),
    "cardiac phase": lambda p: p.phase.get("NominalPercentageOfCardiacPhase"),
    "trigger time": lambda p: p.phase.get("TriggerTime"),
    "acquisition": lambda p: p.phase.get("AcquisitionNumber"),
    "frame acquisition": lambda p: p.phase.get("FrameAcquisitionNumber"),
    "stack": lambda p: p.phase.get("StackID"),
    "image type": lambda p: p.image_type,
    "tube voltage": lambda p: p.kvp,
    "field of view": lambda p: _corner_in_plane(p),
    "acquisition time": lambda p: p.phase.get("AcquisitionDateTime", p.phase.get("AcquisitionTime")),
    "content time": lambda p: p.phase.get("ContentTime"),
}
TIMES: dict[str, Callable[[Plane], Any]] = {
    "trigger time": lambda p: p.phase.get("TriggerTime"),
    "acquisition time": lambda p: p.phase.get(
        "FrameAcquisitionDateTime", p.phase.get("AcquisitionDateTime", p.phase.get("AcquisitionTime"))
    ),
    "content time": lambda p: p.phase.get("ContentTime"),
    "instance number": lambda p: p.instance_number,
}


def sort_along_normal(planes: list[Plane]) -> list[Plane]:
    """Sorted by position along the common normal; order at one position follows the instance number."""
    along = places(planes).along_normal
    numbers = [plane.instance_number or 0 for plane in planes]
    order = sorted(range(len(planes)), key=lambda i: (along[i], numbers[i]))
    return [planes[i] for i in order]


def split_phases(planes: list[Plane]) -> list[Part]:
    """Stacks with one image per position.

    Raises:
        ValueError: with the reason, if images share positions and nothing tells them apart.
    """
    planes = sort_along_normal(planes)
    along = places(planes).along_normal
    shared = int((np.diff(along) < SAME_PLACE_MM).sum())
    if not shared:
        return _interleaved(planes) or [("", planes)]
    deepest = max(b - a for a, b in pairwise(_starts(along)))
    for name, value in NAMES.items():
        groups = _by_value(planes, value)
        few = 1 < len(groups) < 2 * deepest  # as many as share a position, or a few more that overlap in part
        if few and all(_one_per_position(group) for group in groups):
            return _numbered(name, groups)
    for name, value in TIMES.items():
        ranked = _by_time(planes, value)
        if ranked:
            return _numbered(name, ranked)
    raise ValueError(f"{shared} positions hold several images that nothing in the header tells apart")


def split_ranges(label: str, planes: list[Plane]) -> list[Part]:
    """Cut sorted planes where a wide gap parts two scan ranges."""
    along = places(planes).along_normal
    gaps = np.diff(along)
    if not len(gaps):
        return [(label, planes)]
    usual = float(np.median(gaps))
    cuts = [0]
    for k, gap in enumerate(gaps, start=1):
        acquired = [planes[i].phase.get("AcquisitionNumber") for i in (k - 1, k)]
        if gap > 5 * usual and (gap > WIDE_GAP_MM or acquired[0] != acquired[1]):
            cuts.append(k)
    cuts.append(len(planes))
    if len(cuts) == 2:
        return [(label, planes)]
    ranges = [planes[a:b] for a, b in pairwise(cuts)]
    head = f"{label}, " if label else ""
    return [(f"{head}scan range {n} of {len(ranges)}", part) for n, part in enumerate(ranges, start=1)]


def _interleaved(planes: list[Plane]) -> list[Part]:
    """Acquisitions that overlap without sharing positions: parted if that makes each of them regular."""
    if is_regular(places(planes).along_normal):
        return []
    for name in ("temporal position", "cardiac phase", "acquisition", "image type"):
        groups = _by_value(planes, NAMES[name])
        if not 1 < len(groups) <= MOST_PHASES or any(len(group) < 2 for group in groups):
            continue
        spans = sorted((a[0], a[-1]) for a in (places(group).along_normal for group in groups))
        overlap = any(after[0] < before[1] for before, after in pairwise(spans))
        if overlap and all(is_regular(places(group).along_normal) for group in groups):
            return _numbered(name, groups)
    return []


def _numbered(name: str, groups: list[list[Plane]]) -> list[Part]:
    return [(f"phase {n} of {len(groups)} by {name}", group) for n, group in enumerate(groups, start=1)]


def _by_value(planes: list[Plane], value: Callable[[Plane], Hashable]) -> list[list[Plane]]:
    groups: dict[Hashable, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(value(plane), []).append(plane)
    keys = sorted(groups, key=lambda k: (k is None, k if isinstance(k, (int, float)) else 0, str(k)))
    return [groups[key] for key in keys]


def _corner_in_plane(plane: Plane) -> tuple[float, float]:
    """Where the first pixel lies along the plane's own axes, to 0.1 mm."""
    where = places([plane])
    return round(float(where.along_u[0]), 1), round(float(where.along_v[0]), 1)


def _starts(along_normal: FloatArray) -> list[int]:
    """Where each position begins among sorted images, and the end."""
    return [0, *(np.flatnonzero(np.diff(along_normal) >= SAME_PLACE_MM) + 1).tolist(), len(along_normal)]


def _one_per_position(planes: list[Plane]) -> bool:
    return bool((np.diff(places(planes).along_normal) >= SAME_PLACE_MM).all())


def _by_time(planes: list[Plane], value: Callable[[Plane], Any]) -> list[list[Plane]]:
    """Phases by rank of a time at each position; empty unless all positions have as many, and none mix."""
    times = [value(plane) for plane in planes]
    if any(time is None for time in times):
        return []
    along = places(planes).along_normal
    starts = _starts(along)
    sizes = {b - a for a, b in pairwise(starts)}
    if len(sizes) != 1:
        return []
    size = sizes.pop()
    if not 1 < size <= MOST_PHASES:
        return []
    ranks: list[list[int]] = [[] for _ in range(size)]
    for a, b in pairwise(starts):
        for rank, index in enumerate(sorted(range(a, b), key=lambda i: times[i])):
            ranks[rank].append(index)
    for before, after in pairwise(ranks):
        if max(times[i] for i in before) >= min(times[i] for i in after):
            return []
    return [[planes[i] for i in rank] for rank in ranks]
