"""The evaluate job: a model on the labelled scans of a manifest, to tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.evaluate import CaseResult

RESULT = "result"
_KNOWN = {"manifest", "split", "model", "min_overlap", "settings"}


def work(context: Context) -> list[Path]:
    """Segment and measure every labelled case of a split.

    Parameters: `manifest`, `split` ("test"), `model`, `min_overlap`, `settings` (of `inference.segment`).
    Results: `result/patients.csv`, `summary.md`, `evaluation.json`. Events name cases by number only.

    Raises what reading and segmenting raise.
    """
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.evaluate import by_site, evaluate_cases, summary_rows
    from PESemiSegLib.models.store import Store

    params = context.params
    if unknown := set(params) - _KNOWN:
        raise ConfigError(f"an evaluate job knows no parameter {', '.join(sorted(unknown))}")
    if not params.get("manifest"):
        raise ConfigError("an evaluate job needs a `manifest`")
    context.progress("read")
    cases = list(read_manifest(Path(params["manifest"])).select(params.get("split", "test"), "labelled"))
    package = Store().find(params.get("model", "demo"))

    def tell(done: int, total: int, result: CaseResult) -> None:
        context.event("case", number=done, dice=result.overlap.dice, seconds=result.seconds)
        context.progress("cases", done, total)

    context.progress("cases", 0, len(cases))
    results = evaluate_cases(
        cases,
        package,
        min_overlap=params.get("min_overlap", 0.0),
        progress=tell,
        cancelled=context.cancelled,
        **params.get("settings", {}),
    )
    groups = by_site(results)
    rows = [result.row() for result in results]
    record = {"model": package.info.name, "sha256": package.sha256, "sites": groups, "patients": rows}
    folder = context.folder / RESULT
    tables.make_folder(folder)
    written = {
        "patients.csv": tables.to_csv(rows),
        "summary.md": tables.to_markdown(summary_rows(groups)),
        "evaluation.json": tables.to_json(record),
    }
    for name, text in written.items():
        tables.write_text(folder / name, text)
    return [folder / name for name in written]
