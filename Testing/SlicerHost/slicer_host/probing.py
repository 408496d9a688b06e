"""The host's own test: every probe that a real Slicer answered is run here and the two answers are compared.

`python -m slicer_host.probing OUT.json` runs all of them in one process.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "probes"
SETS = ("qt", "slicer")


@dataclass(frozen=True)
class Outcome:
    """One probe: what the application answered, what the host answers, and how the two compare.

    `kind`: equal, both refuse (in other words), refused (the host is stricter), left out (named, with a
    reason), or different (a fault of the host).
    """

    group: str
    name: str
    real: str
    host: str
    kind: str


def probes(group: str) -> list[tuple[str, str]]:
    """(name, code) of one set."""
    blocks = (FOLDER / f"probes-{group}.txt").read_text(encoding="utf-8").split("%%\n")
    return [(name.strip(), code) for name, _, code in (block.partition("\n") for block in blocks)]


def answers(group: str) -> dict[str, str]:
    """{name: what the application answered}."""
    lines = (FOLDER / f"answers-probes-{group}.txt").read_text(encoding="utf-8").splitlines()
    return {name.strip(): text.strip() for name, bar, text in (line.partition("|") for line in lines) if bar}


def left_out() -> dict[str, str]:
    """{name: why the host's answer may differ}."""
    return tomllib.loads((FOLDER / "left_out.toml").read_text(encoding="utf-8"))


def ask(code: str, names: dict[str, Any]) -> str:
    """Run one probe; the repr of its last expression, or '!Error: text'."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    try:
        exec(compile(tree, "<probe>", "exec", dont_inherit=True), names)
        if last is None:
            return "None"
        return repr(eval(compile(ast.Expression(last.value), "<probe>", "eval", dont_inherit=True), names))
    except BaseException as error:
        return f"!{type(error).__name__}: {error}"


def plain(text: str, folder: str = "<tmp>") -> str:
    """An answer without addresses, temporary paths and line ends, with enums as numbers."""
    text = text.replace(folder, "<tmp>").replace("\n", " ")
    text = re.sub(r"<[\w.]+(?:\.[\w|]+): (-?\d+)>", r"\1", text)
    text = re.sub(r"0x[0-9a-f]{5,}", "0x..", text)
    return re.sub(r"\s+", " ", text).strip()


def compare(group: str, name: str, real: str, host: str, reasons: dict[str, str]) -> Outcome:
    """Sort one pair of answers; the application's were cut at 1000 characters."""
    same = (
        plain(host)[: max(len(plain(real)), 1)] == plain(real)
        if len(real) > 900
        else plain(host) == plain(real)
    )
    if name in reasons and not host.startswith("!"):
        kind = "left out"
    elif same:
        kind = "equal"
    elif host.startswith("!"):
        kind = "both refuse" if real.startswith("!") else "refused"
    else:
        kind = "different"
    return Outcome(group, name, real, host, kind)


def run_all() -> list[Outcome]:
    """Start the host and ask it everything."""
    import slicer_host
    from slicer_host.console import as_in_application

    application = slicer_host.start()
    import os

    import ctk
    import qt
    import slicer
    import vtk

    slicer_host.load_module(FOLDER / "SegmentStatistics" / "SegmentStatistics.py")
    reasons, outcomes, kept = left_out(), [], []
    with as_in_application(Path(application.slicerHome)):
        for group in SETS:
            real = answers(group)
            for name, code in probes(group):
                folder = tempfile.mkdtemp()
                names = {"qt": qt, "ctk": ctk, "vtk": vtk, "slicer": slicer, "os": os, "sys": sys}
                names |= {"out": [], "tmp": folder, "__name__": "probe"}
                host = plain(ask(code, names), folder)
                slicer_host.take()
                kept.append(names)  # widgets and nodes of a probe live on, as in a console
                outcomes.append(compare(group, name, real.get(name, ""), host, reasons))
                shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main(path: str) -> None:
    """Write all outcomes as JSON, then leave at once: the order in which Qt and VTK end is not under test."""
    import os

    text = json.dumps([asdict(outcome) for outcome in run_all()], indent=1)
    Path(path).write_text(text, encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
