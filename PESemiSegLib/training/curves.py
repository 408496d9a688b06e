"""The curves of a run as a picture: losses, the discriminator's health, what is learnt from, validation."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.drawing import COLOURS, canvas
from PESemiSegLib.training.health import HEALTHY_LOSS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
Points = Mapping[str, Sequence[tuple[float, float]]]  # of each column, (iteration, value) in order


@dataclass(frozen=True)
class _Panel:
    """kind: which rows of the record it shows; columns: their names and what they are called."""

    title: str
    kind: str
    columns: Mapping[str, str]
    share: bool = True  # the values lie within 0 to 1


_PANELS = (
    _Panel(
        "Losses, means between two looks",
        "health",
        {
            "L_seg": "L_seg",
            "L_D_near": "L_D near marks",
            "L_semi": "L_semi",
            "L_adv": "L_adv",
            "L_adv_unlabelled": "L_adv, unlabelled",
            "L_D": "L_D of whole crops",
        },
        share=False,
    ),
    _Panel(
        "Losses of the pathways (CPMN), without their weights",
        "health",
        {
            "L_cls": "L_cls",
            "L_cls_contrast": "… with contrast",
            "L_seg_contrast": "L_seg with contrast",
            "L_KL": "L_KL",
            "L_align": "L_align",
        },
        share=False,
    ),
    _Panel(
        "Dense centres (IFD), without their weight",
        "health",
        {"L_disc": "L_disc", "L_disc_contrast": "… with contrast"},
        share=False,
    ),
    _Panel(
        "Parts of the bound (StitchNet)",
        "health",
        {
            "L_x": "L_x",
            "L_kl": "L_kl, labelled",
            "L_kl_unlabelled": "L_kl, unlabelled",
            "L_focal": "L_focal",
        },
        share=False,
    ),
    _Panel(
        "Health of the discriminator: mean confidence",
        "health",
        {
            "D_on_masks": "near true masks",
            "D_on_predictions": "near predictions",
            "D_on_unlabelled": "unlabelled crops",
        },
    ),
    _Panel(
        "Unlabelled pixels that are learnt from",
        "health",
        {
            "trusted_share": "trusted by D",
            "trusted_positive_share": "… of the marked ones",
            "sure_share": "sure",
            "sure_positive_share": "… of the marked ones",
        },
    ),
    _Panel(
        "Unlabelled pixels by their likeliest class",
        "health",
        {
            "positive_fraction_unlabelled": "marked",
            **{f"class_{n}_unlabelled": f"class {n}" for n in range(4)},
        },
        share=False,
    ),
    _Panel("Pseudo-labelled crops that are learnt from", "health", {"pool": "the pool"}, share=False),
    _Panel(
        "How far styles and labels differ (0 = all alike)",
        "health",
        {
            "styles_apart": "styles, labelled",
            "styles_apart_unlabelled": "styles, unlabelled",
            "label_variety": "labels, labelled",
            "label_variety_unlabelled": "labels, unlabelled",
        },
        share=False,
    ),
    _Panel(
        "What the latents hold, nats per pixel",
        "health",
        {
            "kl_z": "style, labelled",
            "kl_z_unlabelled": "style, unlabelled",
            "kl_k": "labels, labelled",
            "kl_k_unlabelled": "labels, unlabelled",
        },
        share=False,
    ),
    _Panel(
        "Validation crops",
        "validation",
        {"dice": "Dice", "sensitivity": "sensitivity", "precision": "precision", "auc": "AUC of the crops"},
    ),
)
FIGURES = tuple(name for panel in _PANELS for name in panel.columns)
"""The figures that a record may hold; what a strategy tells beside these is neither recorded nor drawn."""


def draw_curves(record: Path, picture: Path) -> bool:
    """Draw `log.csv` as a PNG; False where it holds nothing to draw yet.

    Raises OutputError, and ModuleNotFoundError without matplotlib.
    """
    points = {kind: _points(record, kind) for kind in ("health", "validation")}
    panels = [panel for panel in _PANELS if any(name in points[panel.kind] for name in panel.columns)]
    if not panels:
        return False
    stream = io.BytesIO()
    with canvas((7.0, 2.4 * len(panels))) as figure:
        for axes, panel in zip(
            figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True
        ):
            _draw(axes, panel, points[panel.kind])
        axes.set_xlabel("Iteration")
        figure.savefig(stream, format="png", metadata={"Software": None})
    tables.write_bytes(picture, stream.getvalue())
    return True


def _draw(axes: Axes, panel: _Panel, points: Points) -> None:
    for (name, label), colour in zip(panel.columns.items(), COLOURS, strict=False):
        if name in points:
            dot = "o" if len(points[name]) < 40 else ""
            axes.plot(*zip(*points[name], strict=True), marker=dot, ms=4, color=colour, label=label)
    if "L_D_near" in panel.columns and "L_D_near" in points:
        axes.axhspan(*HEALTHY_LOSS, color=COLOURS[1], alpha=0.1, lw=0, label="healthy near marks")
    top = 1.02 if panel.share else None
    # The logarithm of a density is a loss that goes below 0.
    below = any(value < 0 for name in panel.columns for _, value in points.get(name, ()))
    axes.set(title=panel.title, ylim=(None if below else 0, top))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _points(record: Path, kind: str) -> Points:
    """The rows of one kind. Where a run went back to a checkpoint, the later row of an iteration counts."""
    rows: dict[int, dict[str, str]] = {}
    with record.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("kind") == kind:
                rows[int(row["iteration"])] = row
    found: dict[str, list[tuple[float, float]]] = {}
    for iteration, row in sorted(rows.items()):
        for name, text in row.items():
            if name not in ("kind", "iteration", "seconds") and text:
                found.setdefault(name, []).append((iteration, float(text)))
    return found
