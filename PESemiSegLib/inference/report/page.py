"""Owns the page itself: what the template is given and how numbers are written on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PESemiSegLib.inference.report.encode import CONFIDENCE_RGB
from PESemiSegLib.inference.report.environment import environment
from PESemiSegLib.inference.report.overview import overviews_of
from PESemiSegLib.inference.report.planes import WINDOW, pictures_of
from PESemiSegLib.volumes.segments import EMBOLUS

if TYPE_CHECKING:
    from jinja2 import Environment

    from PESemiSegLib.inference.result import Result

PICTURED = 20  # findings with pictures; the rest stand in the table


def render(result: Result, summary: dict[str, Any]) -> str:
    """The report of `result` as one HTML page without outside references; `summary` is save.summarise's."""
    pages = pages_with_figures()
    shown, names = result.findings[:PICTURED], [segment.name for segment in result.segments]
    return pages.get_template("report.html").render(
        title="Pulmonary embolism segmentation" if result.segments == (EMBOLUS,) else " and ".join(names),
        several=len(names) > 1,
        summary=summary,
        findings=summary["findings"],
        pictures={finding.id: pictures_of(result, finding) for finding in shown},
        overviews=overviews_of(result),
        window=WINDOW,
        gradient=", ".join("rgb({} {} {})".format(*rgb) for rgb in CONFIDENCE_RGB),
        slices=result.volume.shape[0],
        model=summary["provenance"].get("model", {}),
        provenance=flat(summary["provenance"]),
    )


def pages_with_figures() -> Environment:
    """The templates, with filters for volumes and figures."""
    pages = environment()
    pages.filters |= {"mm3": _volume_mm3, "ml": _volume_ml, "figure": _figure}
    return pages


def _volume_mm3(value: float) -> str:
    """`1 234`, or one decimal below 100."""
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 100 else f"{value:.1f}"


def _volume_ml(value_mm3: float) -> str:
    return f"{value_mm3 / 1000:.2f}"


def _figure(value: float | None, decimals: int = 2) -> str:
    return "\u2013" if value is None else f"{value:.{decimals}f}".replace("-", "\u2212")


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as rows of (name, value); lists are joined, nothing is dropped."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            rows += flat(value, f"{name} \u203a ")
        elif isinstance(value, list):
            rows.append((name, ", ".join(str(item) for item in value)))
        elif value is not None:
            rows.append((name, str(value)))
    return rows
