"""Which images belong together: series, the stacks inside a series, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom_geometry import axes_are_sound, places
from .dicom_headers import Plane, is_ct_image
from .dicom_phases import split_phases, split_ranges
from .wording import counted, some

NOT_HU = ("OD", "HU_MOD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
LOCALIZERS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "REF_SURVIEW")
PROJECTIONS = ("MIP", "MINIP", "MPR_MIP", "AVERAGE", "PROJECTION IMAGE")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass
class Stack:
    """Images that form one stack; `unfit` says why it is no CT stack, `part` how its series was split."""

    planes: list[Plane]
    part: str = ""
    unfit: str = ""

    @property
    def series_number(self) -> int | None:
        return self.planes[0].series_number

    @property
    def orientation(self) -> str:
        normal = np.abs(places(self.planes[:1]).normal)
        return ("sagittal", "coronal", "axial")[int(np.argmax(normal))]

    @property
    def is_projection(self) -> bool:
        return any(word in PROJECTIONS for word in self.planes[0].image_type)

    @property
    def label(self) -> str:
        """One line without patient data (and without the free text of the series description)."""
        plane = self.planes[0]
        number = "without number" if plane.series_number is None else str(plane.series_number)
        head = f"series {number}" + (f", {self.part}" if self.part else "")
        if self.unfit:
            kind = plane.modality or "unknown kind"
            return f"{head}: {kind}, {counted(len(self.planes), 'object')}, {self.unfit}"
        assert plane.pixels is not None
        size = f"{plane.pixels.columns}x{plane.pixels.rows}"
        projection = ", projection" if self.is_projection else ""
        frames = " in one file" if plane.pixels.frames > 1 else ""
        slices = counted(len(self.planes), "slice")
        return f"{head}: CT, {self.orientation}{projection}, {slices} of {size}{frames}"


def unfit_reason(plane: Plane) -> str:
    """Why an object is no CT slice; empty for one that is."""
    from pydicom.uid import UID

    if not is_ct_image(plane):
        if plane.sop_class.startswith(SECONDARY_CAPTURE):
            return "secondary capture"
        return UID(plane.sop_class).name.removesuffix(" Storage") if plane.sop_class else "not a CT image"
    pixels = plane.pixels
    assert pixels is not None
    if pixels.samples != 1 or not pixels.photometric.startswith("MONOCHROME"):
        return "colour images"
    if pixels.bits_allocated not in (8, 16, 32):
        return f"{pixels.bits_allocated}-bit pixels"
    if any(word in LOCALIZERS for word in plane.image_type):
        return "localizer"
    if plane.rescale_type in NOT_HU:
        return "values are not Hounsfield units"
    if plane.position_lps is None or plane.orientation is None or plane.pixel_spacing_mm is None:
        return "images do not say where they lie (position, orientation or pixel spacing is missing)"
    if not axes_are_sound(plane.orientation) or min(plane.pixel_spacing_mm) <= 0:
        return "images say wrongly where they lie (orientation or pixel spacing makes no sense)"
    return ""


def build_stacks(planes: list[Plane]) -> tuple[list[Stack], list[str]]:
    """Group planes into stacks, in a stable order (series number, then number of slices), with warnings."""
    planes, warnings = _without_copies(planes)
    series: dict[tuple[object, ...], list[Plane]] = {}
    for plane in planes:
        known = (plane.series_uid,)
        guessed = (plane.path.parent, plane.study_uid, plane.series_number)
        series.setdefault(known if plane.series_uid else guessed, []).append(plane)
    stacks: list[Stack] = []
    for members in series.values():
        by_reason: dict[str, list[Plane]] = {}
        for plane in members:
            by_reason.setdefault(unfit_reason(plane), []).append(plane)
        for reason, group in by_reason.items():
            stacks.extend([Stack(group, unfit=reason)] if reason else _split(group))
    stacks.sort(key=lambda s: (s.series_number is None, s.series_number or 0, bool(s.unfit), -len(s.planes)))
    return stacks, warnings


def _without_copies(planes: list[Plane]) -> tuple[list[Plane], list[str]]:
    """Keep one file of each instance; copies of a file are common in exported folders.

    Poor anonymisers give all slices one UID: the same instance lies at the same place too.
    """
    seen: set[tuple[object, ...]] = set()
    kept: list[Plane] = []
    copies: set[Path] = set()
    for plane in planes:
        key = (plane.series_uid, plane.sop_uid, plane.frame, plane.position_lps)
        if plane.sop_uid and key in seen:
            copies.add(plane.path)
            continue
        seen.add(key)
        kept.append(plane)
    if not copies:
        return kept, []
    return kept, [f"{counted(len(copies), 'file')} with the UID of another were left out."]


def _split(planes: list[Plane]) -> list[Stack]:
    """Split a series' CT images by matrix, spacing, orientation and kernel, then phases and ranges."""
    groups: list[list[Plane]] = []
    for plane in planes:
        for group in groups:
            if _same_kind(group[0], plane):
                group.append(plane)
                break
        else:
            groups.append([plane])
    several = len(groups) > 1
    stacks = []
    for n, group in enumerate(sorted(groups, key=len, reverse=True), start=1):
        kind = f"stack {n} of {len(groups)}" if several else ""
        try:
            parts = [part for phase in split_phases(group) for part in split_ranges(*phase)]
        except ValueError as error:
            stacks.append(Stack(group, kind, unfit=str(error)))
            continue
        for label, members in parts:
            stacks.append(Stack(members, ", ".join(filter(None, (kind, label)))))
    return stacks


def _same_kind(a: Plane, b: Plane) -> bool:
    return (
        a.pixels is not None
        and b.pixels is not None
        and (a.pixels.rows, a.pixels.columns, a.kernel) == (b.pixels.rows, b.pixels.columns, b.kernel)
        and bool(np.allclose(a.pixel_spacing_mm or (), b.pixel_spacing_mm or (), rtol=1e-3, atol=0))
        and bool(np.allclose(a.orientation or (), b.orientation or (), rtol=0, atol=5e-3))
    )


def choose(
    stacks: list[Stack], series: str | int | None, name: str, problems: Sequence[object] = ()
) -> Stack:
    """The stack that `series` names, or else the axial CT stack with the most slices.

    `series` is a SeriesInstanceUID, a series number, or a number of the list that errors print
    ("index:2", or plain 2 where no series has that number).

    Raises:
        InputError: for no CT, a tie, or a `series` that names none or several; it lists what there is.
    """
    fit = [stack for stack in stacks if not stack.unfit]
    if series is not None and str(series).strip():
        return _named(stacks, str(series).strip(), name)
    if not fit:
        unread = f"; not readable: {problems[0]}" if problems else ""
        raise InputError(f"{name}: no CT series that can be used; there is {_listing(stacks)}{unread}")
    best = [s for s in fit if s.orientation == "axial" and not s.is_projection] or fit
    most = max(len(stack.planes) for stack in best)
    winners = [stack for stack in best if len(stack.planes) == most]
    if len(winners) > 1:
        raise InputError(
            f"{name}: {len(winners)} CT series have {counted(most, 'slice')} each; choose one with --series; "
            f"there is {_listing(stacks)}"
        )
    return winners[0]


def _named(stacks: list[Stack], series: str, name: str) -> Stack:
    index = series.removeprefix("index:")
    hits = [s for s in stacks if s.planes[0].series_uid == series or str(s.series_number) == series]
    fit = [s for s in hits if not s.unfit]
    hits = fit if len(fit) == 1 else hits
    if not hits and index.isdigit() and 1 <= int(index) <= len(stacks):
        hits = [stacks[int(index) - 1]]
    if not hits:
        raise InputError(f"{name}: there is no series {series[:70]!r}; there is {_listing(stacks)}")
    if len(hits) > 1:
        raise InputError(
            f"{name}: {series[:70]!r} names {len(hits)} stacks; choose one as --series index:N; there is "
            f"{_listing(stacks)}"
        )
    if hits[0].unfit:
        raise InputError(f"{name}: {hits[0].label} cannot be segmented; there is {_listing(stacks)}")
    return hits[0]


def _listing(stacks: list[Stack]) -> str:
    lines = [f"[index:{n}] {stack.label}" for n, stack in enumerate(stacks, start=1)]
    return some(lines, most=12, joint="; ") or "no DICOM image"
