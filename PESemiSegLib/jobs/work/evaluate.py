"""The evaluate job: models of any kind on the labelled scans of a manifest, to tables and pages."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.identify import SETTINGS as OF_IDENTIFY
from PESemiSegLib.jobs.work.train import files_of, require

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.by_kind import Step
    from PESemiSegLib.models.package import ModelPackage

RESULT = "result"
_KNOWN = {"manifest", "split", "model", "models", "min_overlap", "settings", "at_once"}


def work(context: Context) -> list[Path]:
    """Measure every labelled case of a split as the kind of the models has it, see `evaluation.by_kind`.

    A new start keeps what the evaluation of that kind keeps: scans that were measured, and pairs that were
    registered.

    Parameters: `manifest`, `split` ("test"; "all"), `model` or `models`, `min_overlap`, `at_once` (scans side
    by side), `settings` (see `require_settings`). Results: `result/*`, patients by number. Events name cases
    by number only.

    Raises what reading and measuring raise; what cannot be asked for is refused before anything is read.
    """
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.evaluation.by_kind import Evaluation
    from PESemiSegLib.models.store import Store

    params = context.params
    require(context, _KNOWN, "manifest")
    context.progress("read")
    split, settings = params.get("split", "test"), params.get("settings", {})
    packages = [Store().find(name) for name in params.get("models") or [params.get("model", "demo")]]
    require_settings(settings, *packages)
    min_overlap, at_once = params.get("min_overlap", 0.0), params.get("at_once", 1)
    if type(min_overlap) not in (int, float) or not 0 <= min_overlap <= 1:
        raise ConfigError(f"min_overlap {min_overlap!r} must be a share from 0 to 1")
    if type(at_once) is not int or at_once < 1:
        raise ConfigError(f"at_once {at_once!r} must be a number of scans, at least 1")

    def tell(step: Step) -> None:
        context.event("case", number=step.done, stored=step.stored, **step.figures)
        context.progress("cases", step.done, step.total)

    evaluation = Evaluation(
        cohort=read_manifest(Path(params["manifest"])),
        packages=packages,
        output=context.folder / RESULT,
        split=None if split == "all" else split,
        kept=context.folder,
        min_overlap=min_overlap,
        jobs=at_once,
        settings=settings,
        progress=tell,
        cancelled=context.cancelled,
    )
    context.progress("cases")
    evaluation.run()
    return files_of(context.folder / RESULT)


def require_settings(settings: Any, *packages: ModelPackage) -> None:
    """Refuse at once what would be refused with the first scan, which may come hours later.

    settings: those of `inference.settings.Settings`; for models that identify, of the identify job without
    `any_phase`, since the manifest says which phase a scan is. Raises ConfigError, DeviceError.
    """
    from PESemiSegLib.inference.engines.select import choose
    from PESemiSegLib.inference.settings import Settings
    from PESemiSegLib.training.plain import from_plain

    if not isinstance(settings, dict):
        raise ConfigError(f"settings must be names with values, not {settings!r}")
    every = {entry.name for entry in fields(Settings)}
    for package in packages:
        known = OF_IDENTIFY - {"any_phase"} if "identifier" in package.info.what.parts else every
        if unknown := set(settings) - known:
            there = ", ".join(sorted(known))
            raise ConfigError(f"there is no setting {', '.join(sorted(unknown))}; there are {there}")
        own = {name: value for name, value in settings.items() if name in every}
        wanted = from_plain(Settings, own).resolved(package)
        choose(wanted.device, wanted.precision, wanted.engine)
