"""The verdict before against after: in words, from a paired test on held-out patients, or said to be none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.evaluation.agreement import agreements, summarise_agreement
from PESemiSegLib.evaluation.case import CaseResult, Measuring
from PESemiSegLib.evaluation.evaluate import evaluate_models
from PESemiSegLib.evaluation.figures import COMPARED
from PESemiSegLib.evaluation.paired import ALPHA, Paired, compare_figures
from PESemiSegLib.evaluation.parallel import CancelCheck

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

BEFORE_AFTER = ("the model before", "the model after")
Word = Literal["better", "no difference shown", "worse", "no labels"]
_TITLES = {figure.key: figure.title for figure in COMPARED}
_GUARDS = ("lesion_sensitivity", "false_marks_per_scan")


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to: a word, the sentences behind it, and the figures behind those.

    tests: by figure, empty without labels. agreement: without labels, as `summarise_agreement` gives it.
    before, after: the results per scan, for tables.
    """

    word: Word
    sentences: tuple[str, ...]
    tests: Mapping[str, Paired] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[CaseResult, ...] = ()
    after: tuple[CaseResult, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: no patients."""
        return {
            "verdict": self.word,
            "sentences": list(self.sentences),
            "tests": dict(self.tests),
            "agreement": dict(self.agreement),
        }


def compare(
    before: ModelPackage,
    after: ModelPackage,
    manifest: Manifest | Iterable[Case],
    *,
    folder: Path | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> Verdict:
    """Measure two models on the same held-out scans and judge the second against the first.

    Args:
        manifest: the held-out cases, chosen by the caller (`manifest.select("test")`). Labelled ones decide;
            where there are none, the models' agreement is told and no verdict given.
        folder: where results of single scans are stored, see `evaluate_models`.
        settings: for `inference.segment`.

    Raises InputError without any scan, Cancelled, and what reading and segmenting raise.
    """
    cases = list(manifest)
    if not any(case.role == "labelled" for case in cases):
        found = agreements(
            cases, before, after, jobs=jobs, progress=progress, cancelled=cancelled, **settings
        )
        summary = summarise_agreement(found)
        return Verdict("no labels", agreement_sentences(summary), agreement=summary)
    first, second = evaluate_models(
        cases,
        [before, after],
        measuring=Measuring(),
        folder=folder,
        jobs=jobs,
        progress=lambda step: progress(step.done, step.total),
        cancelled=cancelled,
        **settings,
    )
    return judge(first, second)


def judge(
    before: Sequence[CaseResult],
    after: Sequence[CaseResult],
    names: tuple[str, str] = BEFORE_AFTER,
) -> Verdict:
    """The verdict on two models' results on the same scans.

    Dice per patient decides (false marks where no patient has an annotated embolus): two-sided permutation
    test at the 5 % level. Emboli found and false marks are told when they moved.
    """
    tests = compare_figures(before, after)
    primary = tests["dice"] if tests["dice"].patients else tests["false_marks_per_scan"]
    word = _word(primary)
    sentences = [_opening(word, names), _evidence(primary, names)]
    if word == "no difference shown" and primary.smallest_p() >= ALPHA:
        sentences.append(
            f"With {_counted(primary.patients, 'patient')} no difference could have been shown at the "
            f"{100 * ALPHA:.0f} % level, however large."
        )
    for key in _GUARDS:
        test = tests[key]
        if test is not primary and test.patients and test.p_permutation < ALPHA:
            sentences.append(("Also better: " if _gain(test) > 0 else "But worse: ") + _evidence(test, names))
    return Verdict(word, tuple(sentences), tests, before=tuple(before), after=tuple(after))


def agreement_sentences(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The figures without labels, in words, and what they cannot say."""
    dice = summary["dice_between_models"]
    overlap = (
        "Neither model marks anything on any scan."
        if math.isnan(dice.value)
        else f"Their marks overlap with a mean Dice of {dice.value:.2f} "
        f"({summary['shared_marks_per_scan'].value:.1f} marks per scan in common)."
    )
    return (
        "There are no labels, so there is no verdict: the figures say how far the two models agree, not "
        "which is right.",
        f"Over {_counted(summary['scans'], 'scan')} of {_counted(summary['patients'], 'patient')}: "
        f"{summary['marks_per_scan_first'].value:.1f} marks per scan before, "
        f"{summary['marks_per_scan_second'].value:.1f} after; "
        f"{summary['marked_ml_first'].value:.2f} ml marked before, "
        f"{summary['marked_ml_second'].value:.2f} ml after.",
        overlap,
    )


def _gain(test: Paired) -> float:
    """The difference, positive where the second is better."""
    lower = next(figure.better == "lower" for figure in COMPARED if figure.key == test.figure)
    return -test.difference.value if lower else test.difference.value


def _word(test: Paired) -> Literal["better", "no difference shown", "worse"]:
    if not test.patients or not test.p_permutation < ALPHA:
        return "no difference shown"
    return "better" if _gain(test) > 0 else "worse"


def _opening(word: str, names: tuple[str, str]) -> str:
    first, second = names
    if word == "no difference shown":
        return f"No difference was shown between {first} and {second}."
    second = "The" + second[3:] if second.startswith("the ") else second
    return f"{second} is {word} than {first}."


def _evidence(test: Paired, names: tuple[str, str]) -> str:
    if not test.patients:
        return "No patient allows a comparison."
    title = _TITLES[test.figure]
    change = test.difference
    first, second = ("before", "after") if names == BEFORE_AFTER else (f"with {name}" for name in names)
    interval = "" if math.isnan(change.low) else f" [{change.low:+.2f}, {change.high:+.2f}]"
    return (
        f"{title}: {test.first:.2f} {first}, {test.second:.2f} {second}, difference {change.value:+.2f}"
        f"{interval} over {_counted(test.patients, 'patient')} "
        f"({test.better} better, {test.equal} equal, {test.worse} worse; "
        f"permutation {p_in_words(test.p_permutation)}, Wilcoxon {p_in_words(test.p_wilcoxon)})."
    )


def p_in_words(p: float) -> str:
    """`p < 0.001`, `p = 0.012` or `p = 0.40`."""
    if math.isnan(p):
        return "p not defined"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
