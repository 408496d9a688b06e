"""How the project's curves look: colours, symbols, and a canvas that leaves matplotlib's state alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito's
MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "pesemiseg",  # the same picture gives the same bytes
    "savefig.dpi": 130,
}


def require_plotting() -> None:
    """Fail before the long work where matplotlib or scikit-learn is missing (ModuleNotFoundError)."""
    import matplotlib  # noqa: F401
    import sklearn  # noqa: F401


@dataclass(frozen=True)
class Picture:
    """One picture: a file name without ending, a title, what it shows in words, and its two forms."""

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes


@contextmanager
def canvas(size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure of so many inches, to be drawn on and saved within the context."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def picture(
    draw: Callable[[Axes], None],
    name: str,
    title: str,
    caption: str,
    size: tuple[float, float] = (6.8, 4.4),
) -> Picture:
    """What `draw` draws on one pair of axes of so many inches, as a picture."""
    forms = {}
    with canvas(size) as figure:
        draw(figure.add_subplot())
        for form, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=form, metadata=metadata, bbox_inches="tight")
            forms[form] = stream.getvalue()
    return Picture(name, title, caption, forms["svg"], forms["png"])


def bars(axes: Axes, x: np.ndarray, intervals: Sequence[Interval], n: int, name: str) -> None:
    """The n-th model's means with their intervals at the places x."""
    y = np.array([interval.value for interval in intervals])
    below = y - np.array([interval.low for interval in intervals])
    above = np.array([interval.high for interval in intervals]) - y
    axes.errorbar(
        x,
        y,
        yerr=np.clip([below, above], 0, None),
        fmt=MARKERS[n % 6],
        color=COLOURS[n % 6],
        ms=7,
        mec="white",
        capsize=3,
        label=name,
        clip_on=False,
    )


def legend(axes: Axes, models: Sized) -> None:
    """Which model is which, where there are several."""
    if len(models) > 1:
        axes.legend(loc="lower right")
