"""One evaluation for every kind of model, for the command and the job: which tables belong to which kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.manifest import Manifest
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.drawing import require_plotting
from PESemiSegLib.evaluation.folds import CrossValidated
from PESemiSegLib.evaluation.parallel import CancelCheck, CaseDone
from PESemiSegLib.evaluation.store import CASES
from PESemiSegLib.evaluation.wording import model_names, written

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.case import CaseResult
    from PESemiSegLib.evaluation.folds import Model
    from PESemiSegLib.models.kinds import Kind
    from PESemiSegLib.models.package import ModelPackage


@dataclass(frozen=True)
class Step:
    """Progress: so many of all scans are done; the last one's figures, per model and in words; from store?"""

    done: int
    total: int
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    words: str = ""
    stored: bool = False


@dataclass(frozen=True)
class Outcome:
    """The summary as text, and the files to look at first; more lie beside them."""

    summary: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Evaluation:
    """What is to be measured, and how.

    cohort, split: the labelled cases of the split count, of all splits where it is None. packages: all of one
    kind. output: folder of the tables. kept: folder of what a later start finds again, such as scans that
    were measured; None: `output`. min_overlap: share of an embolus that must be marked. jobs: scans at once.
    identify: name patients as the manifest does. settings: of `inference.segment` or `identify`.
    """

    cohort: Manifest
    packages: Sequence[Model]
    output: Path
    split: str | None = None
    kept: Path | None = None
    min_overlap: float = 0.0
    jobs: int = 1
    identify: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[Step], None] = lambda step: None
    cancelled: CancelCheck | None = None

    def run(self) -> Outcome:
        """Measure, and write page and tables into `output`.

        Two models that mark are compared on scans without labels by how far they agree. Nothing is written
        before it is known that there is something to measure.

        Raises ConfigError for models of different kinds, and what measuring raises.
        """
        kind = kind_of(self.packages)
        self._cases.require_marks(kind.masks)
        if "identifier" in kind.parts:
            return self._identified()
        single = [each for each in self.packages if not isinstance(each, CrossValidated)]
        if len(single) == len(self.packages) == 2 and not len(self._cases.select(role="labelled")):
            return self._agreement(*single)
        if kind.classes > 2:
            return self._labels()
        return self._emboli()

    @property
    def _cases(self) -> Manifest:
        return self.cohort.select(self.split)

    @property
    def _folder(self) -> Path:
        return self.output if self.kept is None else self.kept

    @property
    def _how(self) -> dict[str, Any]:
        return {"jobs": self.jobs, "cancelled": self.cancelled, **self.settings}

    def _tell(self, key: str, figure: Callable[[Any], float], words: str) -> Callable[[CaseDone[Any]], None]:
        """Progress with one figure of each model; `words` stand before the figures."""

        def tell(step: CaseDone[Any]) -> None:
            values = [figure(result) for result in step.results]
            said = f"{words} " + " | ".join(written(value, decimals=3) for value in values)
            self.progress(Step(step.done, step.total, {key: values}, said, step.stored))

        return tell

    def _emboli(self) -> Outcome:
        from PESemiSegLib.evaluation.case import Measuring
        from PESemiSegLib.evaluation.evaluate import evaluate_models, in_words, labelled
        from PESemiSegLib.evaluation.report import write_report

        def tell(step: CaseDone[CaseResult]) -> None:
            dice = [result.dice for result in step.results]
            self.progress(Step(step.done, step.total, {"dice": dice}, in_words(step), step.stored))

        cases, measuring = labelled(self._cases), Measuring(self.min_overlap)
        require_plotting()
        tables.make_folder(self.output)
        results = evaluate_models(
            cases,
            self.packages,
            measuring=measuring,
            folder=self._folder / CASES,
            progress=tell,
            **self._how,
        )
        summary = write_report(
            self.output,
            self.packages,
            results,
            min_overlap=self.min_overlap,
            settings=self.settings,
            identify=self.identify,
        )
        return Outcome(summary, (self.output / tables.PAGE,))

    def _labels(self) -> Outcome:
        from PESemiSegLib.evaluation.evaluate import labelled
        from PESemiSegLib.evaluation.label_cases import evaluate_labels
        from PESemiSegLib.evaluation.label_report import write_label_report

        cases = labelled(self._cases)
        require_plotting()
        tables.make_folder(self.output)
        tell = self._tell("dice", lambda result: result.mean("dice"), "mean Dice")
        results = evaluate_labels(
            cases, self.packages, folder=self._folder / CASES, progress=tell, **self._how
        )
        summary = write_label_report(self.output, self.packages, results, identify=self.identify)
        return Outcome(summary, (self.output / tables.PAGE,))

    def _identified(self) -> Outcome:
        from PESemiSegLib.evaluation.identified import evaluate_identified
        from PESemiSegLib.evaluation.identified_report import write_identified

        require_plotting()
        tell = self._tell("probability", lambda scan: scan.score, "probability of PE")
        results = evaluate_identified(
            self.cohort, self.packages, self._folder, split=self.split, progress=tell, **self._how
        )
        tables.make_folder(self.output)
        summary = write_identified(self.output, self.packages, results, name_patients=self.identify)
        return Outcome(summary, (self.output / tables.PAGE,))

    def _agreement(self, before: ModelPackage, after: ModelPackage) -> Outcome:
        from PESemiSegLib.evaluation.agreement import in_use
        from PESemiSegLib.evaluation.verdict import compare

        def count(done: int, total: int) -> None:
            self.progress(Step(done, total))

        cases = in_use(self._cases)
        tables.make_folder(self.output)
        one, other = model_names([before, after])
        verdict = compare(before, after, cases, progress=count, names=(one, other), **self._how)
        record = tables.heading() | {
            "models": [{"name": one, "sha256": before.sha256}, {"name": other, "sha256": after.sha256}]
        }
        tables.write_all(self.output, {tables.AGREEMENT: tables.to_json(record | verdict.to_dict())})
        return Outcome(str(verdict), (self.output / tables.AGREEMENT,))


def kind_of(packages: Sequence[Model]) -> Kind:
    """The one kind of the models; raises ConfigError where they are of several, or one is given twice."""
    kinds = {package.info.what.name: package.info.what for package in packages}
    if len(kinds) > 1:
        raise ConfigError(f"The models mark {' and '.join(sorted(kinds))}; compare models of one kind.")
    if len({package.sha256 for package in packages}) < len(packages):
        raise ConfigError("One model is given twice; give each once.")
    (kind,) = kinds.values()
    return kind
