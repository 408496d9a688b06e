"""The best networks of a run so far, by the validation's Dice, in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.segmenter import Segmenter
from PESemiSegLib.training.checkpoint import load_checkpoint, save_checkpoint
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.start import fresh_networks

BEST = "best.safetensors"


class Best:
    """Keeps the networks of the highest Dice offered; `dice` is below 0 while there is none."""

    def __init__(self, folder: Path, dice: float = -1.0) -> None:
        self._path, self.dice = folder / BEST, dice

    def offer(
        self, dice: float, segmenter: nn.Module, discriminator: nn.Module | None, iteration: int
    ) -> None:
        """Write the networks where they beat those kept. Raises OutputError."""
        if dice <= self.dice:
            return
        pair = {"segmenter": segmenter, "discriminator": discriminator}
        tensors = {
            f"{name}/{key}": v for name, net in pair.items() if net for key, v in net.state_dict().items()
        }
        save_checkpoint(self._path, tensors, {"iteration": iteration, "dice": dice})
        self.dice = dice

    def load(self, config: TrainConfig) -> tuple[Segmenter, Discriminator | None, dict[str, Any]] | None:
        """The networks kept, with their iteration and Dice; None where none were. Raises InputError."""
        if self.dice < 0:
            return None
        tensors, scalars = load_checkpoint(self._path)
        segmenter, discriminator = fresh_networks(config)
        segmenter.load_state_dict(part(tensors, "segmenter"))
        if discriminator is not None:
            discriminator.load_state_dict(part(tensors, "discriminator"))
        return segmenter, discriminator, {name: scalars[name] for name in ("iteration", "dice")}


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, by their names without it."""
    return {n.removeprefix(prefix + "/"): v for n, v in tensors.items() if n.startswith(prefix + "/")}
