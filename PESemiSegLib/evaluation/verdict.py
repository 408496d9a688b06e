"""The verdict before against after: in words, from a paired test on held-out patients, or said to be none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.evaluation.agreement import agreements, summarise_agreement
from PESemiSegLib.evaluation.case import CaseResult, Measuring
from PESemiSegLib.evaluation.classes import MEAN, LabelResult, compare_labels
from PESemiSegLib.evaluation.evaluate import evaluate_models
from PESemiSegLib.evaluation.figures import COMPARED
from PESemiSegLib.evaluation.label_cases import evaluate_labels
from PESemiSegLib.evaluation.paired import ALPHA, Paired, compare_figures
from PESemiSegLib.evaluation.parallel import CancelCheck, CaseDone

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

BEFORE_AFTER = ("the model before", "the model after")
Word = Literal["better", "no difference shown", "worse", "no labels"]
_TITLES = {figure.key: figure.title for figure in COMPARED}
_GUARDS = ("lesion_sensitivity", "false_marks_per_scan")
_NO_EMBOLI = (
    "No held-out patient has an annotated embolus; false marks alone decide, and a model that marks nothing "
    "makes none."
)


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to: a word, the sentences behind it, and the figures behind those.

    tests: by figure (of label maps by class), empty without labels. agreement: without labels, as
    `summarise_agreement` gives it. before, after: the results per scan, for tables.
    """

    word: Word
    sentences: tuple[str, ...]
    tests: Mapping[str, Paired] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    before: Sequence[CaseResult] | Sequence[LabelResult] = ()
    after: Sequence[CaseResult] | Sequence[LabelResult] = ()

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
    names: tuple[str, str] = BEFORE_AFTER,
    **settings: Any,
) -> Verdict:
    """Measure two models on the same held-out scans and judge the second against the first.

    Args:
        manifest: the held-out cases, chosen by the caller (`manifest.select("test")`). Labelled ones decide;
            where there are none, the models' agreement is told and no verdict given.
        folder: where results of single scans are stored, see `evaluate_models`.
        names: what the two are called in the sentences.
        settings: for `inference.segment`.

    Raises InputError without any scan, Cancelled, and what reading and segmenting raise.
    """
    cases = list(manifest)
    if not any(case.role == "labelled" for case in cases):
        found = agreements(
            cases, before, after, jobs=jobs, progress=progress, cancelled=cancelled, **settings
        )
        summary = summarise_agreement(found)
        return Verdict("no labels", agreement_sentences(summary, names), agreement=summary)

    def tell(step: CaseDone[Any]) -> None:
        progress(step.done, step.total)

    how: dict[str, Any] = {
        "folder": folder,
        "jobs": jobs,
        "progress": tell,
        "cancelled": cancelled,
        **settings,
    }
    if before.info.what.classes > 2:
        label_maps, others = evaluate_labels(cases, [before, after], **how)
        return judge_labels(label_maps, others, names)
    first, second = evaluate_models(cases, [before, after], measuring=Measuring(), **how)
    return judge(first, second, names)


def judge(
    before: Sequence[CaseResult],
    after: Sequence[CaseResult],
    names: tuple[str, str] = BEFORE_AFTER,
) -> Verdict:
    """The verdict on two models' results on the same scans.

    Dice per patient decides (false marks where no patient has an annotated embolus): two-sided permutation
    test at the 5 % level. Emboli found and false marks are told too, and the deciding figure of each site.
    """
    tests = compare_figures(before, after)
    emboli = tests["dice"].patients > 0
    primary = tests["dice" if emboli else "false_marks_per_scan"]
    word = _word(primary)
    sentences = [_opening(word, names, emboli), _evidence(primary, names), *_too_few(word, primary)]
    if not emboli:
        sentences.append(_NO_EMBOLI)
    sentences += _of_emboli(before, after, names)
    for key in _GUARDS:
        test = tests[key]
        if test is not primary and test.patients:
            sentences.append(_moved(test) + _evidence(test, names))
    sentences += _of_sites(before, after, primary.figure, names)
    return Verdict(word, tuple(sentences), tests, before=tuple(before), after=tuple(after))


def judge_labels(
    before: Sequence[LabelResult], after: Sequence[LabelResult], names: tuple[str, str] = BEFORE_AFTER
) -> Verdict:
    """The verdict on two models' label maps of the same scans: the mean Dice of the classes decides."""
    tests = compare_labels(before, after)
    word = _word(tests[MEAN])
    sentences = [_opening(word, names), _evidence(tests[MEAN], names), *_too_few(word, tests[MEAN])]
    sentences += [_moved(test) + _evidence(test, names) for name, test in tests.items() if name != MEAN]
    return Verdict(word, tuple(sentences), tests, before=tuple(before), after=tuple(after))


def _too_few(word: str, test: Paired) -> Iterator[str]:
    """Said where no difference was shown, and none could have been."""
    if word == "no difference shown" and test.smallest_p() >= ALPHA:
        yield (
            f"With {_counted(test.patients, 'patient')} no difference could have been shown at the "
            f"{100 * ALPHA:.0f} % level, however large."
        )


def _moved(test: Paired) -> str:
    """What a sentence on a figure that does not decide begins with."""
    if not test.p_permutation < ALPHA:
        return ""
    return "Also better: " if _gain(test) > 0 else "But worse: "


def _of_emboli(
    before: Sequence[CaseResult], after: Sequence[CaseResult], names: tuple[str, str]
) -> Iterator[str]:
    """How many emboli each model found, and how many one of them alone did."""
    found = [
        (lesion.found, again.found)
        for first, second in zip(before, after, strict=True)
        for lesion, again in zip(first.lesions.lesions, second.lesions.lesions, strict=True)
    ]
    if found:
        first, second = _when(names)
        gained, lost = found.count((False, True)), found.count((True, False))
        yield (
            f"Of {_counted(len(found), 'embolus', 'emboli')}, {sum(a for a, _ in found)} found {first} and "
            f"{sum(b for _, b in found)} {second}: {gained} gained, {lost} lost."
        )


def _of_sites(
    before: Sequence[CaseResult], after: Sequence[CaseResult], figure: str, names: tuple[str, str]
) -> Iterator[str]:
    """The deciding figure of each site, where there are several."""
    sites = sorted({result.site for result in before})
    for site in sites if len(sites) > 1 else ():
        first, second = ([r for r in results if r.site == site] for results in (before, after))
        test = compare_figures(first, second)[figure]
        if test.patients:
            yield f"Site {site} alone: {_evidence(test, names)}"


def agreement_sentences(summary: Mapping[str, Any], names: tuple[str, str] = BEFORE_AFTER) -> tuple[str, ...]:
    """The figures without labels, in words, and what they cannot say."""
    dice = summary["dice_between_models"]
    first, second = _when(names)
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
        f"{summary['marks_per_scan_first'].value:.1f} marks per scan {first}, "
        f"{summary['marks_per_scan_second'].value:.1f} {second}; "
        f"{summary['marked_ml_first'].value:.2f} ml marked {first}, "
        f"{summary['marked_ml_second'].value:.2f} ml {second}.",
        overlap,
    )


def _gain(test: Paired) -> float:
    """The difference, positive where the second is better."""
    lower = any(figure.better == "lower" for figure in COMPARED if figure.key == test.figure)
    return -test.difference.value if lower else test.difference.value


def _word(test: Paired) -> Literal["better", "no difference shown", "worse"]:
    if not test.patients or not test.p_permutation < ALPHA:
        return "no difference shown"
    return "better" if _gain(test) > 0 else "worse"


def _opening(word: str, names: tuple[str, str], emboli: bool = True) -> str:
    """The word in a sentence. Without emboli to be found, no model is called better for marking less."""
    first, second = names
    if word == "no difference shown":
        return f"No difference{'' if emboli else ' in false marks'} was shown between {first} and {second}."
    second = "The" + second[3:] if second.startswith("the ") else second
    if not emboli:
        return f"{second} makes {'fewer' if word == 'better' else 'more'} false marks than {first}."
    return f"{second} is {word} than {first}."


def _evidence(test: Paired, names: tuple[str, str]) -> str:
    if not test.patients:
        return "No patient allows a comparison."
    title = _TITLES.get(test.figure, test.figure)
    change = test.difference
    first, second = _when(names)
    interval = "" if math.isnan(change.low) else f" [{change.low:+.2f}, {change.high:+.2f}]"
    return (
        f"{title}: {test.first:.2f} {first}, {test.second:.2f} {second}, difference {change.value:+.2f}"
        f"{interval} over {_counted(test.patients, 'patient')} "
        f"({test.better} better, {test.equal} equal, {test.worse} worse; "
        f"permutation {p_in_words(test.p_permutation)}, Wilcoxon {p_in_words(test.p_wilcoxon)})."
    )


def _when(names: tuple[str, str]) -> tuple[str, str]:
    first, second = names
    return ("before", "after") if names == BEFORE_AFTER else (f"with {first}", f"with {second}")


def p_in_words(p: float) -> str:
    """`p < 0.001`, `p = 0.012` or `p = 0.40`."""
    if math.isnan(p):
        return "p not defined"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _counted(number: int, word: str, several: str = "") -> str:
    return f"{number} {word}" if number == 1 else f"{number} {several or word + 's'}"
