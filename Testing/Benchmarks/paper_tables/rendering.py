"""Docs/tables.md from stored results alone: means over seeds, intervals over patients, what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from plan import ORACLE, Plan, Row, Table
from running import settings
from scales import Scale

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean
from PESemiSegLib.evaluation.paired import permutation_p
from PESemiSegLib.evaluation.paper_compat import PaperCompatMetrics
from PESemiSegLib.evaluation.tables import to_markdown
from PESemiSegLib.evaluation.verdict import p_in_words
from PESemiSegLib.training.finish import settings_of

Results = Mapping[str, Mapping[str, Any]]  # by cell
Patients = dict[str, float]
_PREAMBLE = """# The tables, preset `{name}`

**Made-up patients only: these figures rank methods and say nothing about real scans. Research use only.**

Patients ({phantom} scans; {counts}).
{runs} of {planned} runs stored{unfinished}, {hours:.1f} hours of training on {machines}.

All strategies of a table start from the same model of their seed, trained on A, and take the same further
{matched}: `supervised` spends them on A's labels alone, the oracle on A's and the target's, both with as many
crops a step as the others have labelled and unlabelled ones together; "by way of B" has had B's before.
One threshold ({threshold:g}) and smallest mark ({smallest:g} mm3) for all, chosen on nobody.
A discriminator that a strategy listens to has {head_start} lessons alone first; less than 0.02 between its
confidence on masks and on predictions, near marks, and it is untrained.

Dice: mean over patients with emboli, whole volumes; the 95 % interval is over patients, of their mean over
seeds. Change: against `supervised` (variants: against `adversarial_feature`), paired by patient, with the
two-sided permutation test. Paper's figures: IoU at 0.8, soft Dice and sensitivity at 0.1, over positive
slices."""


def render(scale: Scale, plan: Plan, results: Results) -> str:
    """The page of one scale."""
    shown = [_section(scale, table, results) for table in plan.tables]
    return (
        "\n".join([*_preamble(scale, plan, results), *(line for section in shown for line in section)]) + "\n"
    )


def dice(result: Mapping[str, Any], site: str) -> Patients:
    """Dice of every patient of a site with an annotated embolus."""
    patients = result["figures"][site]["patients"]
    return {p["patient"]: p["dice"] for p in patients if p["dice"] is not None}


def over_seeds(each: Sequence[Patients]) -> Patients:
    """Every patient's mean over the seeds."""
    return {patient: float(np.mean([values[patient] for values in each])) for patient in each[0]}


def closed(row: float, reference: float, oracle: float) -> float:
    """The share of the way from the reference to the oracle; NaN where the oracle is not ahead."""
    return (row - reference) / (oracle - reference) if oracle > reference else math.nan


def _preamble(scale: Scale, plan: Plan, results: Results) -> list[str]:
    counts = "; ".join(
        f"{site}: {c.train} for training, {c.test} with emboli and {c.free} without held out"
        for site, c in scale.counts.items()
    )
    machines = sorted({result["machine"] for result in results.values()})
    hours = sum(result["seconds"] for result in results.values()) / 3600
    text = _PREAMBLE.format(
        name=scale.name,
        phantom=scale.phantom,
        counts=counts,
        runs=len(results),
        planned=len(plan.cells),
        unfinished=" (unfinished: nothing follows from the tables yet)"
        if len(results) < len(plan.cells)
        else "",
        hours=hours,
        machines=", ".join(machines) or "no machine yet",
        matched=scale.matched,
        head_start=max(
            settings_of(settings(cell, scale), "head_start").iterations for cell in plan.cells.values()
        ),
        threshold=scale.segmenting["threshold"],
        smallest=scale.segmenting["min_lesion_mm3"],
    )
    return text.splitlines()


def _section(scale: Scale, table: Table, results: Results) -> list[str]:
    complete = {row.label: row for row in table.rows if _of(row, results)}
    lines = ["", f"## {table.name}. {table.title}", ""]
    if complete:
        rows = [_line(row, table, complete, results) for row in complete.values()]
        lines += to_markdown(rows).splitlines()
    missing = [row.label for row in table.rows if row.label not in complete]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return lines


def _of(row: Row, results: Results) -> list[Mapping[str, Any]]:
    """The row's results, of every seed that is there."""
    return [results[name] for name in row.cells if name in results and row.site in results[name]["figures"]]


def _line(row: Row, table: Table, complete: Mapping[str, Row], results: Results) -> dict[str, str]:
    """One row of a table, as text."""
    mine = _of(row, results)
    each = [dice(result, row.site) for result in mine]
    line = {
        "": row.label,
        "Dice": str(bootstrap_mean(list(over_seeds(each).values()))),
        "each seed": " ".join(f"{np.mean(list(values.values())):.3f}" for values in each),
    }
    if table.reference:
        line |= _against(row, complete.get(table.reference), results)
        line["gap closed"] = _gap(row, table, complete, results)
    return line | dict(_rest(mine, row.site))


def _against(row: Row, reference: Row | None, results: Results) -> dict[str, str]:
    """The change from the reference over the seeds that both have, and in how many of them it is a gain."""
    names = ("change", "p", "ahead in")
    if reference is None or reference.label == row.label:
        return dict.fromkeys(names, "")
    by_seed = [_by_seed(each, results) for each in (row, reference)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    if not seeds:
        return dict.fromkeys(names, "")
    mine, theirs = ([group[seed] for seed in seeds] for group in by_seed)
    a, b = over_seeds(mine), over_seeds(theirs)
    change = np.array([a[patient] - b[patient] for patient in a])
    ahead = sum(
        np.mean(list(x.values())) > np.mean(list(y.values())) for x, y in zip(mine, theirs, strict=True)
    )
    texts = (
        _signed(bootstrap_mean(change.tolist())),
        p_in_words(permutation_p(change)),
        f"{ahead} of {len(seeds)}",
    )
    return dict(zip(names, texts, strict=True))


def _seed(result: Mapping[str, Any]) -> int:
    return int(result["cell"].rsplit(".s", 1)[1])


def _signed(value: Interval) -> str:
    text = str(value)
    return text if text.startswith(("-", "n")) else f"+{text}"


def _gap(row: Row, table: Table, complete: Mapping[str, Row], results: Results) -> str:
    """Over the seeds that the row, the reference and the oracle have."""
    if row.label in (table.reference, ORACLE) or not {table.reference, ORACLE} <= complete.keys():
        return ""
    by_seed = [_by_seed(complete[label], results) for label in (row.label, table.reference, ORACLE)]
    seeds = set.intersection(*(set(each) for each in by_seed))
    if not seeds:
        return ""
    means = [float(np.mean([list(each[seed].values()) for seed in seeds])) for each in by_seed]
    share = closed(*means)
    return "" if math.isnan(share) else f"{share:.0%}"


def _by_seed(row: Row, results: Results) -> dict[int, Patients]:
    return {_seed(result): dice(result, row.site) for result in _of(row, results)}


def _rest(mine: Sequence[Mapping[str, Any]], site: str) -> Iterator[tuple[str, str]]:
    patients = [patient for result in mine for patient in result["figures"][site]["patients"]]
    emboli = sum(patient["emboli"] for patient in patients)
    yield "emboli found", f"{sum(p['found'] for p in patients) / emboli:.2f}" if emboli else ""
    yield "false marks per scan", f"{np.mean([p['false_marks'] for p in patients]):.1f}"
    paper = sum((PaperCompatMetrics(**patient["paper"]) for patient in patients), PaperCompatMetrics())
    yield "paper's IoU / Dice / sensitivity", f"{paper.iou:.3f} / {paper.dice:.3f} / {paper.sensitivity:.3f}"
    yield "D on masks / predictions", " / ".join(_judged(mine))
    yield "parameters", f"{mine[0]['parameters'] / 1e6:.2f} M"
    yield "minutes", f"{np.mean([result['seconds'] for result in mine]) / 60:.1f}"


def _judged(mine: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """D's mean confidence near marks where S listens to it: less than 0.02 apart, it is untrained."""
    if not all(result["recipe"]["settings"]["strategy"].startswith("adversarial") for result in mine):
        return
    for name in ("D_on_masks", "D_on_predictions"):
        values = [result["health"]["figures"].get(name, math.nan) for result in mine]
        yield f"{np.nanmean(values):.2f}"
