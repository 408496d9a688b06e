"""The cohort job: folders of scans, with their masks matched, to a manifest whose patients are split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.jobs.context import Context

if TYPE_CHECKING:
    from PESemiSegLib.cohorts.manifest import Case

MANIFEST, MASKS = "manifest.csv", "masks"
_SITE = "ours"  # a folder may be called as a patient is, and models and reports name sites
_KNOWN = {"sources", "validation", "test", "seed", "open_scans"}


def work(context: Context) -> list[Path]:
    """Make one manifest of all sources; a scan that several hold counts once, where they are of one site.

    Parameters: `sources`, a list of {`path`, and maybe `site`, `fallback_site` ("ours", for scans whose data
    set names no site), `role`, `layout`}; `validation` and `test` (shares of the patients held out), `seed`;
    `open_scans` (true: each scan is read, so that what cannot be used is found now).

    Result: `manifest.csv`, with a mask folder beside it where a data set's masks had to be written anew.
    Raises what reading and splitting raise.
    """
    from PESemiSegLib.cohorts.build import BuildOptions, cases_of
    from PESemiSegLib.cohorts.copies import at_other_sites, one_patient, without_copies
    from PESemiSegLib.cohorts.manifest import Manifest, write_manifest
    from PESemiSegLib.cohorts.splits import split_by_patient

    params = context.params
    if unknown := set(params) - _KNOWN:
        raise ConfigError(f"a cohort job knows no parameter {', '.join(sorted(unknown))}")
    if not params.get("sources"):
        raise ConfigError("a cohort job needs `sources`")

    def tell(done: int, total: int, _case: Case) -> None:
        context.check()
        context.progress("scans", done, total)

    cases: list[Case] = []
    for number, source in enumerate(params["sources"], start=1):
        context.progress("scans")
        options = BuildOptions(
            masks=context.folder / MASKS / str(number),
            site=source.get("site", ""),
            role=source.get("role", "auto"),
            open_scans=params.get("open_scans", True),
            fallback_site=source.get("fallback_site") or _SITE,
        )
        found = cases_of(source["path"], options, layout=source.get("layout", "auto"), progress=tell)
        if at_other_sites(cases, found):  # left out here, its patient's other scans would stay: a leak
            name = Path(source["path"]).name
            raise InputError(f"{name} has a scan of another site here; leave it out, or give both one site.")
        cases += found
    drawn = split_by_patient(
        Manifest(tuple(without_copies(one_patient(cases))), MANIFEST),
        validation=params.get("validation", 0.0),
        test=params.get("test", 0.0),
        seed=params.get("seed", 0),
    )
    write_manifest(drawn, context.folder / MANIFEST)
    return [context.folder / MANIFEST]
