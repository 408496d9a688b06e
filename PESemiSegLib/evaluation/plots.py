"""The pictures of an evaluation: FROC, ROC, patient by patient, and sensitivity by size and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.drawing import COLOURS, MARKERS, Picture, bars, legend, picture
from PESemiSegLib.evaluation.figures import PER_PATIENT, REGIONS, patient_means
from PESemiSegLib.evaluation.froc import froc
from PESemiSegLib.evaluation.lesions import size_bin
from PESemiSegLib.evaluation.scans import Scored, auc_interval, roc
from PESemiSegLib.evaluation.summary import SIZE_BINS, Wanted, lesion_sensitivity
from PESemiSegLib.evaluation.wording import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Models = Mapping[str, Sequence[CaseResult]]  # results by the model's label, all on the same scans
S = TypeVar("S", bound=Scored)
_NAMED = 60  # patients that can be told apart in one picture


def pictures(models: Models, called: Mapping[str, str]) -> list[Picture]:
    """All pictures that the results allow; what lacks emboli or scans without PE is left out.

    called: what patients are called, by key.
    """
    made = [_froc(models), _roc(models), _patients(models, called), _sizes(models)]
    return [each for each in made if each is not None]


def _froc(models: Models) -> Picture | None:
    curves = {name: froc(results) for name, results in models.items()}
    known = {name: curve for name, curve in curves.items() if curve is not None}
    if not known:
        return None

    operating = {name: _operating(models[name]) for name in known}
    reach = max(4.0, *(2.5 * rate for rate, _ in operating.values()))
    reach = min(reach, max(1.0, *(curve.false_marks[-1] for curve in known.values())))

    def draw(axes: Axes) -> None:
        for n, (name, curve) in enumerate(known.items()):
            rate, share = operating[name]
            x, y = (np.concatenate([[0.0], values]) for values in (curve.false_marks, curve.sensitivity))
            axes.plot(x, y, color=COLOURS[n % 6])
            shown = np.linspace(0.0, min(reach, curve.false_marks[-1]), 301)
            axes.fill_between(shown, *curve.band(shown), color=COLOURS[n % 6], alpha=0.13, lw=0)
            axes.plot(rate, share, MARKERS[n % 6], color=COLOURS[n % 6], ms=8, mec="white", clip_on=False)
            # For the legend, line and symbol in one.
            axes.plot([], [], MARKERS[n % 6] + "-", color=COLOURS[n % 6], ms=8, mec="white", label=name)
        axes.set(
            xlim=(0, reach),
            ylim=(0, 1.02),
            xlabel="False marks per scan",
            ylabel="Share of emboli found",
        )
        legend(axes, models)

    return picture(
        draw,
        "froc",
        "Emboli found against false marks (FROC)",
        "From left to right the threshold falls (the core's, where marks are kept for one). The symbol is "
        "the operating point, the band the 95 % interval over patients. A curve ends where false marks are "
        "most: below, they grow together.",
    )


def _roc(models: Models) -> Picture | None:
    return roc_picture(
        models,
        _called,
        "A scan's score is the highest threshold at which a mark remains. The symbol is the operating point: "
        "positive as soon as there is one mark.",
    )


def roc_picture(
    models: Mapping[str, Sequence[S]],
    called: Callable[[Sequence[S]], tuple[float, float]],
    caption: str,
) -> Picture | None:
    """ROC curves of the scans' scores; None where not both kinds of scans are there.

    called: the shares of scans without and with PE that are called positive. caption: what score and symbol
    are.
    """
    curves = {name: roc(results) for name, results in models.items()}
    known = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not known:
        return None

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9aa5b1", lw=1, ls=":")
        for n, (name, (false_rate, true_rate, _)) in enumerate(known.items()):
            area = auc_interval(models[name], resamples=500)
            label = f"{name}\nAUC {written(area)}"
            axes.plot(false_rate, true_rate, color=COLOURS[n % 6], label=label, clip_on=False)
            x, y = called(models[name])
            axes.plot(x, y, MARKERS[n % 6], color=COLOURS[n % 6], ms=8, mec="white", clip_on=False)
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1.02),
            aspect="equal",
            xlabel="Scans without PE that are called positive (1 − specificity)",
            ylabel="Scans with PE that are called positive (sensitivity)",
        )
        axes.legend(loc="lower right")

    some = next(iter(models.values()))
    free = sum(result.pe_free for result in some)
    return picture(
        draw,
        "roc",
        "PE or no PE, scan by scan (ROC)",
        f"{len(some) - free} scans with PE and {free} without. {caption}",
        size=(6.2, 5.2),
    )


def _patients(models: Models, called: Mapping[str, str]) -> Picture | None:
    dice = next(figure for figure in PER_PATIENT if figure.key == "dice")
    means = {name: patient_means(results, dice) for name, results in models.items()}
    first = next(iter(means.values()))
    keys = [key for key in first if not all(np.isnan(values[key]) for values in means.values())]
    if not keys:
        return None
    keys.sort(key=lambda key: np.nan_to_num(first[key], nan=-1.0))
    rows = np.arange(len(keys))
    named = keys if len(keys) <= _NAMED else []

    def draw(axes: Axes) -> None:
        table = np.array([[values[key] for key in keys] for values in means.values()])
        if len(models) > 1:
            for row, values in zip(rows, table.T, strict=True):
                axes.plot([np.nanmin(values), np.nanmax(values)], [row, row], color="#b9c2cb", lw=2, zorder=1)
        for n, (name, values) in enumerate(zip(models, table, strict=True)):
            mean = float(np.nanmean(values))
            shift = 0.18 * ((len(models) - 1) / 2 - n)  # equal values stay visible
            axes.plot(
                values,
                rows + shift,
                MARKERS[n % 6],
                color=COLOURS[n % 6],
                mec="white",
                ms=7,
                label=f"{name}: mean {mean:.2f}",
                clip_on=False,
            )
            axes.axvline(mean, color=COLOURS[n % 6], lw=1, ls="--", zorder=0)
        axes.set(xlim=(0, 1), ylim=(-0.7, len(keys) - 0.3), xlabel="Dice", ylabel="Patient")
        # A name of the manifest may hold a "$", which begins no formula.
        axes.set_yticks(rows[: len(named)], [called[key] for key in named], parse_math=False)
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(3, len(models)))

    return picture(
        draw,
        "patients",
        "Dice, patient by patient",
        "Every patient with an annotated embolus, by rising Dice of the first model; dashed: the means."
        + (" A grey line joins the models' values of one patient." if len(models) > 1 else ""),
        size=(6.2, 1.5 + 0.24 * min(max(len(keys), 4), _NAMED)),
    )


def _sizes(models: Models) -> Picture | None:
    some = next(iter(models.values()))
    emboli = [lesion for result in some for lesion in result.lesions.lesions]
    if not emboli:
        return None
    bins = [(name, _of_size(name)) for name in SIZE_BINS] + [(place, _in_region(place)) for place in REGIONS]
    groups = [(name, wanted, sum(map(wanted, emboli))) for name, wanted in bins]
    groups = [group for group in groups if group[2]]

    def draw(axes: Axes) -> None:
        places = np.arange(len(groups)) + np.array([0.5 * (not g[0].endswith("mm3")) for g in groups])
        for n, (name, results) in enumerate(models.items()):
            shift = (n - (len(models) - 1) / 2) * min(0.22, 0.7 / len(models))
            intervals = [lesion_sensitivity(results, wanted, 1000) for _, wanted, _ in groups]
            bars(axes, places + shift, intervals, n, name)
        labels = [f"{_spelled(name)}\nn = {count}" for name, _, count in groups]
        axes.set_xticks(places, labels)
        axes.set(ylim=(0, 1.02), ylabel="Share of emboli found", xlim=(places[0] - 0.6, places[-1] + 0.6))
        axes.grid(axis="x", visible=False)
        legend(axes, models)

    return picture(
        draw,
        "sizes",
        "Emboli found, by size and by place",
        "n is the number of emboli; bars are 95 % intervals over patients. Central: pulmonary trunk, main "
        "and lobar arteries; peripheral: segmental arteries and beyond.",
        size=(7.2, 4.2),
    )


def _of_size(name: str) -> Wanted:
    return lambda lesion: size_bin(lesion.volume_mm3) == name


def _in_region(name: str) -> Wanted:
    return lambda lesion: lesion.region == name


def _spelled(name: str) -> str:
    return name.replace("mm3", "mm³").replace(">=", "≥").replace("-", "–")


def _operating(results: Sequence[CaseResult]) -> tuple[float, float]:
    """False marks per scan and share found at the operating point."""
    emboli = sum(len(result.lesions.lesions) for result in results)
    return (
        sum(result.lesions.false_marks for result in results) / len(results),
        sum(result.lesions.found for result in results) / emboli,
    )


def _called(results: Sequence[CaseResult]) -> tuple[float, float]:
    """Shares of scans without and with PE that hold a mark."""
    free = [result.lesions.marks > 0 for result in results if result.pe_free]
    rest = [result.lesions.marks > 0 for result in results if not result.pe_free]
    return sum(free) / len(free), sum(rest) / len(rest)
