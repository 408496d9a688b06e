"""Owns what a run will cost, said before it starts; figures from this computer where it has run already."""

from dataclasses import dataclass

from slicer.i18n import tr as _

from . import machine, wording

# Measured with the demo model (Docs/benchmark.md): seconds of one CPU thread per slice of 400 x 400 pixels.
_DEMO_CPU_S = 0.43
_DEMO_SPACING_MM, _LUNG_BOX = (
    0.9,
    0.6,
)  # the slices' pixels, and the share of a slice that the lungs' box takes
_STARTING_S = 4.0
_GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """Seconds (None: not known) and bytes of memory."""

    seconds: float | None
    memory_bytes: float
    measured: bool = False  # from an earlier run here

    def text(self, free_bytes: float | None) -> str:
        """One sentence for the panel."""
        memory = _("{size} of memory").format(size=wording.size(self.memory_bytes))
        if self.seconds is None:
            text = _("Time: known after the first run here; {memory}").format(memory=memory)
        else:
            pattern = (
                _("About {time}, as in the last run here; {memory}")
                if self.measured
                else _("About {time} (a first estimate); {memory}")
            )
            text = pattern.format(time=wording.duration(self.seconds), memory=memory)
        if free_bytes is not None and self.memory_bytes > free_bytes:
            text += " " + _("Only {size} is free: close other programs first.").format(
                size=wording.size(free_bytes)
            )
        return text


def estimate(
    dimensions: "tuple[int, int, int]",
    spacing_mm: "tuple[float, float, float]",
    model: str,
    device: str,
    cores: int | None,
) -> Cost:
    """What a volume of these (i, j, k) voxels will cost."""
    columns, rows, slices = dimensions
    voxels = columns * rows * slices
    memory = 0.45 * _GIB + 16.0 * voxels
    known = machine.secondsPerSlice(model, device)
    if known is not None:
        return Cost(_STARTING_S + known * slices, memory, measured=True)
    if model == "demo" and device in ("cpu", "auto") and cores:
        pixels = columns * spacing_mm[0] * rows * spacing_mm[1] / _DEMO_SPACING_MM**2
        share = _LUNG_BOX * pixels / 400**2
        return Cost(_STARTING_S + _DEMO_CPU_S * share * slices / cores, memory)
    return Cost(None, memory)
