"""Owns the page of an identified scan: the probability, the warning, and where in the scan it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.inference.report.encode import (
    CONFIDENCE_RGB,
    confidence_colours,
    outline_path,
    png_uri,
    resized,
    windowed,
)
from PESemiSegLib.inference.report.page import flat, pages_with_figures
from PESemiSegLib.inference.report.planes import VIEWS, View

if TYPE_CHECKING:
    from PESemiSegLib.inference.identification import IdentifyResult

WINDOW = (350.0, 40.0)  # width, level in HU: soft tissue, for blood without contrast agent
AXIALS = 6  # slices on the page
_SIDE_PX = 360.0
_ALPHA = 0.55  # of the map where it is highest


@dataclass(frozen=True)
class Slice:
    """One plane through the computed box: a grey PNG, the map over it, and the outline of the marks."""

    view: View
    width: float
    height: float
    image: str  # data URI
    overlay: str  # data URI, "" where the map is empty
    outline: str  # SVG path
    caption: str


def render(result: IdentifyResult, summary: dict[str, Any]) -> str:
    """The page of `result`, without outside references; `summary` is save_identification.summarise's."""
    return (
        pages_with_figures()
        .get_template("identification.html")
        .render(
            title="Pulmonary embolism on a scan without contrast agent",
            summary=summary,
            findings=summary["findings"],
            coronal=_slice(result, VIEWS[1], _peak(result)[1]),
            axials=[_slice(result, VIEWS[0], k) for k in axial_slices(result)],
            window=WINDOW,
            gradient=", ".join("rgb({} {} {})".format(*rgb) for rgb in CONFIDENCE_RGB),
            slices=result.volume.shape[0],
            model=summary["provenance"].get("model", {}),
            settings=summary["provenance"].get("settings", {}),
            provenance=flat(summary["provenance"]),
        )
    )


def axial_slices(result: IdentifyResult) -> list[int]:
    """Slices of the working grid, head first: evenly spread, and through the map's peak and most marks."""
    first, last = result.box.start[0], result.box.stop[0] - 1
    spread = [int(k) for k in np.linspace(first, last, AXIALS + 2)[1:-1].round()]
    wanted = {_peak(result)[0]}
    if result.mask.any():
        wanted.add(int(result.mask.sum(axis=(1, 2), dtype=np.int64).argmax()))
    for index in wanted:  # the nearest gives way
        spread.remove(min(spread, key=lambda k: abs(k - index)))
    return sorted({*spread, *wanted}, reverse=True)


def _peak(result: IdentifyResult) -> tuple[int, int, int]:
    """Where the map is highest, (z, y, x) of the working grid; the middle of the box where it is empty."""
    values = result.cam.values
    if result.cam_peak > 0:
        at = np.unravel_index(int(values.argmax()), values.shape)
    else:
        at = tuple(n // 2 for n in values.shape)
    z, y, x = (int(n) + start for n, start in zip(at, result.box.start, strict=True))
    return (z, y, x)


def _slice(result: IdentifyResult, view: View, index: int) -> Slice:
    box, spacing = result.box, result.volume.spacing_mm[::-1]
    here = list(box.slices)
    here[view.normal] = slice(index, index + 1)
    own = [slice(None)] * 3
    own[view.normal] = slice(index - box.start[view.normal], index - box.start[view.normal] + 1)
    hu, mark, seen = (
        _turned(part, view)
        for part in (result.volume.hu[tuple(here)], result.mask[tuple(here)], result.cam.values[tuple(own)])
    )
    rows_mm, columns_mm = spacing[view.rows], spacing[view.columns]
    px_per_mm = _SIDE_PX / max(hu.shape[0] * rows_mm, hu.shape[1] * columns_mm)
    scale = (rows_mm * px_per_mm, columns_mm * px_per_mm)
    size = (max(1, round(hu.shape[0] * scale[0])), max(1, round(hu.shape[1] * scale[1])))
    share = np.clip(resized(seen, size), 0.0, 1.0)
    return Slice(
        view=view,
        width=round(hu.shape[1] * scale[1], 1),
        height=round(hu.shape[0] * scale[0], 1),
        image=png_uri(windowed(resized(hu, size), *WINDOW)),
        overlay=png_uri(confidence_colours(share, _ALPHA * share)) if share.max() > 0.02 else "",
        outline=outline_path(mark > 0, scale) if mark.any() else "",
        caption=_caption(result, view, index),
    )


def _turned(block: np.ndarray, view: View) -> np.ndarray:
    plane = block.take(0, axis=view.normal)
    return plane[::-1] if view.up else plane


def _caption(result: IdentifyResult, view: View, index: int) -> str:
    ijk = [(a + b - 1) / 2 for a, b in zip(result.box.start[::-1], result.box.stop[::-1], strict=True)]
    ijk[2 - view.normal] = index  # at the picture's middle
    millimetres = f"{float(result.volume.grid.to_lps(ijk)[2 - view.normal]):.0f}".replace("-", "\u2212")
    if view.normal == 0:
        return f"Slice {index + 1}, z {millimetres} mm"
    return f"{view.name.capitalize()}, {'xyz'[2 - view.normal]} {millimetres} mm"
