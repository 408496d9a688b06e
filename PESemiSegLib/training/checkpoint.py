"""Checkpoints: one safetensors file, the scalars as JSON in its header; no pickle, no half file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from PESemiSegLib.atomic import sweep, whole_file
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.plain import from_plain

FORMAT = 1


def save_checkpoint(path: Path, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """Write aside, flush to the disk and move into place, so that the last good checkpoint survives a kill.

    Raises OutputError.
    """
    from safetensors.torch import save

    data = save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        metadata={"state": json.dumps(scalars | {"format": FORMAT})},
    )
    sweep(path.parent)  # a kill while writing leaves a whole checkpoint aside
    try:
        with whole_file(path, durable=True) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise OutputError(f"The checkpoint {path.name} cannot be written: {error.strerror}.") from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and scalars of a checkpoint; InputError where it is missing, cut short or of another format."""
    with _opened(path) as (file, scalars):
        return {name: file.get_tensor(name) for name in file.keys()}, scalars  # noqa: SIM118 - not a dict


def settings_at(path: Path, config: TrainConfig, source: str = "", base: str = "") -> TrainConfig:
    """The settings that a checkpoint was written with.

    source, base: of the run that would go on, see `Crops` and `Trainer`. Raises InputError where `config`
    tells of another run: of another kind, network, discriminator, strategy or optimiser, of images drawn
    otherwise, of other patients or from another model; and what `load_checkpoint` raises.
    """
    with _opened(path) as (_, scalars):
        then = from_plain(TrainConfig, scalars["config"])
    earlier, now = _bound(then), _bound(config)
    other = [what for what in now if earlier[what] != now[what]]
    if source and scalars.get("source") and scalars["source"] != source:
        other.append("cohort (patients, splits or scans)")
    if scalars.get("base", base) != base:
        other.append("model to start from (base)")
    if other:
        raise InputError(f"The checkpoint in {path.parent.name} is of another {other[0]}; start a new run.")
    return then


def _bound(config: TrainConfig) -> dict[str, Any]:
    """What a run cannot change on its way."""
    optimisers = config.segmenter_optimiser.kind, config.discriminator_optimiser.kind
    fixed = {what: getattr(config, what) for what in ("kind", "network", "discriminator", "strategy")}
    return fixed | {
        "optimiser": optimisers,
        "averaging of weights (ema_decay)": config.ema_decay > 0,
        "in-plane spacing": config.spacing_mm,
        "HU window": config.sampling.hu_window,
    }


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            scalars: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            if scalars.get("format") != FORMAT:
                told = f"format {scalars.get('format')}; this version reads {FORMAT}"
                raise InputError(f"The checkpoint {path.name} has {told}.")
            yield file, scalars
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"The checkpoint {path.name} cannot be read: {error}") from error
