"""Docs/benchmark.md from the measured numbers: what was aimed at, what was reached, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jinja2

Results = dict[str, Any]

PARTS = ("slices", "volume", "peers", "memory")
_TEMPLATE = Path(__file__).with_name("benchmark.md.j2")


class Goal(NamedTuple):
    """One line of the first table; `reached` is None where this machine cannot tell."""

    what: str
    aim: str
    measured: str
    reached: bool | None


def render(results: Results) -> str:
    """Return the page as Markdown; parts that were not measured are left out."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["f"] = lambda value, digits=0: f"{value:.{digits}f}"
    environment.filters["e"] = lambda value: f"{value:.1e}"
    parts = {part: results.get(part) for part in PARTS}
    measured = {name: part for name, part in parts.items() if part}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(parts, goals=goals(results), measured=measured)


def goals(results: Results) -> list[Goal]:
    """Compare what was measured with the aims of the project."""
    found: list[Goal] = []
    if part := results.get("slices"):
        found += _slice_goals(part)
    if part := results.get("volume"):
        found.append(
            _faster("512x512x300: `segment` over literal on all slices", part["segment_times_faster"], 25)
        )
    if "volume" in results and "peers" in results:
        peers, volume = results["peers"], results["volume"]
        eager = peers["eager_whole_seconds"] / volume["segment_seconds"]
        alike = peers["openvino_box_seconds"] / volume["network_seconds"]
        found.append(_faster("512x512x300: `segment` over an eager nnU-Net-like 3D U-Net", eager, 60))
        found.append(_faster("the same two networks, same crop, same engine", alike, 5))
    if part := results.get("memory"):
        gigabytes = max(run["peak_over_runtime_mb"] for run in part["runs"]) / 1024
        seconds = min(run["first_slice_wall_seconds"] for run in part["runs"])
        found.append(
            Goal("peak memory over the runtime", "<= 0.6 GB", f"{gigabytes:.2f} GB", gigabytes <= 0.6)
        )
        found.append(Goal("start to first slice", "<= 3 s", f"{seconds:.1f} s", seconds <= 3))
    return found


def _slice_goals(part: Results) -> list[Goal]:
    faster, forms = part["times_faster_than_literal"], part["agreement"]["forms"]
    differ = forms["fp32"]["pixels_that_differ"]
    dice, emulated = forms["bf16"]["dice"], "" if part["cpu_has_bf16"] else ", emulated"
    bf16 = "per slice, OpenVINO bfloat16 over literal"
    return [
        _faster("per slice, OpenVINO float32 over literal", faster["fp32"], 5),
        Goal("its masks equal those of float64", "0 pixels differ", str(differ), differ == 0),
        _faster(bf16, faster["bf16"], 10)
        if part["cpu_has_bf16"]
        else Goal(bf16, ">= 10x", "this CPU has no bfloat16 instructions", None),
        Goal(f"bfloat16 mask Dice (OpenVINO{emulated})", ">= 0.999", f"{dice:.5f}", dice >= 0.999),
    ]


def _faster(what: str, times: float, aim: float) -> Goal:
    return Goal(what, f">= {aim:g}x", f"{times:.1f}x", times >= aim)
