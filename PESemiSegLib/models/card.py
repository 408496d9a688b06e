"""The model card: README.md of a package, rendered from its model.json for people."""

from __future__ import annotations

import json
from typing import Any

from PESemiSegLib.models.info import INTENDED_USE, PackageInfo
from PESemiSegLib.networks.config import DiscriminatorConfig

PHANTOM_WARNING = "Research use only; not a medical device; made-up patients only."
GENERAL_WARNING = "Research use only; not a medical device."


def warning(info: PackageInfo) -> str:
    """Return what every use of the model must show."""
    return f"{PHANTOM_WARNING if info.is_demo else GENERAL_WARNING} {info.what.warning}".strip()


def render_card(info: PackageInfo) -> str:
    """Return the card as Markdown; the same info gives the same text."""
    network, judge, (low, high) = info.network_config, info.discriminator_config, info.hu_window
    facts = {
        "Task": f"{info.what.marks} in {info.what.scans}",
        "Network": str(network),
        "Discriminator": _discriminator(judge) if info.what.judged else "none",
        "Input": f"{_seen(info)} at {info.spacing_mm:g} mm in plane, HU {low:g} to {high:g}",
        "Operating point": _operating_point(info),
        "Trained on": {
            "phantom": "made-up patients only (procedural phantom); it has never seen a real scan",
            "patients": "scans of patients",
            "mixed": "scans of patients and made-up patients",
        }[info.data_origin],
        "Licence": info.licence,
    }
    sections = [
        f"# {info.name}",
        f"**{warning(info)}**",
        info.intended_use.removeprefix(INTENDED_USE).strip(),  # the warning says that already
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in facts.items())]),
        _section("Training", info.training),
        _section("Results", info.metrics),
        "## Files\n"
        "Weights are in `*.safetensors`; the `*.onnx` graphs take theirs from these, so keep them together. "
        "`model.json` holds the settings and the SHA-256 of every file. No file holds code.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _discriminator(config: DiscriminatorConfig) -> str:
    text = f"{config.kind}, mask weight {config.mask_weight:g}"
    return text if config.feature_weight == 1 else f"{text}, features weight {config.feature_weight:g}"


def _seen(info: PackageInfo) -> str:
    if (volume := info.network_config.volume) is None:
        return f"{info.context} slice(s)"
    size = " x ".join(map(str, volume.crop))
    medium = "without" if volume.phase == "noncontrast" else "with"
    return f"scans {medium} contrast medium, {size} voxels with slices of {volume.slice_mm:g} mm"


def _operating_point(info: PackageInfo) -> str:
    if info.what.classes > 2:
        return "each pixel takes its likeliest class"
    if info.core_threshold is None:
        return f"probability {info.threshold:g}, marks of {info.min_lesion_mm3:g} mm3 or more"
    return (
        f"probability {info.threshold:g} at the edge, marks that hold {info.min_lesion_mm3:g} mm3 or more at "
        f"probability {info.core_threshold:g}"
    )


def _section(title: str, values: dict[str, Any]) -> str:
    if not values:
        return ""
    return "\n".join([f"## {title}", *(_item(key, value, 0) for key, value in values.items())])


def _item(key: str, value: Any, depth: int) -> str:
    """One list entry; objects nest, everything else stands on one line."""
    indent = "  " * depth
    if isinstance(value, dict):
        return "\n".join([f"{indent}- {key}:", *(_item(k, v, depth + 1) for k, v in value.items())])
    return f"{indent}- {key}: {_cell(value)}"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("\n", " ").replace("|", "\\|")
