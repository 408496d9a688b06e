"""Owns what a segmentation hands on: box arrays, findings, the input check's sentences, and the Result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.segments import EMBOLUS, SegmentInfo

if TYPE_CHECKING:
    from PESemiSegLib.inference.burden import Burden
    from PESemiSegLib.inference.lung_filter import LungFilter
    from PESemiSegLib.inference.lungs import LungField
    from PESemiSegLib.volumes.volume import Volume

Level = Literal["ok", "warning", "error"]
Side = Literal["left", "right", "central"]


@dataclass(frozen=True)
class Box:
    """A half-open index box (z, y, x) on the working grid: `start` is inside, `stop` is not."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent (z, y, x) in voxels."""
        a, b = self.start, self.stop
        return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of a (z, y, x) array."""
        a, b = self.start, self.stop
        return (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))

    @property
    def voxels(self) -> int:
        """How many voxels the box holds."""
        dz, dy, dx = self.shape
        return dz * dy * dx

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Box:
        """The box of a complete grid of this shape."""
        return cls((0, 0, 0), shape)


@dataclass(frozen=True)
class BoxArray:
    """An array that is known inside `box` and equals `fill` on the rest of a grid of `full_shape`.

    It keeps a result of 512x512x300 voxels as small as the lungs: only the box lies in memory.
    """

    values: np.ndarray  # (z, y, x) of the box; float16 or float32
    box: Box
    full_shape: tuple[int, int, int]
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.values.shape != self.box.shape:
            raise ValueError(f"values {self.values.shape} do not fit the box {self.box.shape}")

    def slice(self, k: int) -> np.ndarray:
        """Slice `k` of the full grid, float32 (y, x)."""
        plane = np.full(self.full_shape[1:], self.fill, dtype=np.float32)
        z, y, x = self.box.slices
        if z.start <= k < z.stop:
            plane[y, x] = self.values[k - z.start]
        return plane

    def crop(self, box: Box) -> np.ndarray:
        """The part of the full grid inside `box`, float32 (z, y, x)."""
        out = np.full(box.shape, self.fill, dtype=np.float32)
        lo = [max(a, b) for a, b in zip(self.box.start, box.start, strict=True)]
        hi = [min(a, b) for a, b in zip(self.box.stop, box.stop, strict=True)]
        if all(a < b for a, b in zip(lo, hi, strict=True)):
            there = tuple(slice(a - o, b - o) for a, b, o in zip(lo, hi, box.start, strict=True))
            here = tuple(slice(a - o, b - o) for a, b, o in zip(lo, hi, self.box.start, strict=True))
            out[there] = self.values[here]
        return out

    def full(self) -> np.ndarray:
        """The complete grid, float32 (z, y, x); large, so ask for it late and drop it early."""
        if self.fill == 0.0:
            out = np.zeros(self.full_shape, dtype=np.float32)  # untouched pages cost no memory
        else:
            out = np.full(self.full_shape, self.fill, dtype=np.float32)
        out[self.box.slices] = self.values
        return out


@dataclass(frozen=True)
class Finding:
    """One connected mark (26 neighbours). Indices are of the working grid: k slice, j row, i column."""

    id: int  # 1 is the largest
    volume_mm3: float
    centroid_lps_mm: tuple[float, float, float]  # mean of the voxel centres, patient LPS
    side: Side
    slice_range: tuple[int, int]  # first and last slice k, both inside
    longest_axis_mm: float  # greatest distance between two of its voxels, ends included
    mean_probability: float
    mean_confidence: float
    box: Box  # bounding box
    seed: tuple[int, int, int]  # (k, j, i) of one of its voxels
    name: str = ""  # of its class, where a model has several

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON and CSV."""
        return asdict(self)


@dataclass(frozen=True)
class CheckLine:
    """One plain sentence of the input check; `code` is stable, for programs and tests."""

    level: Level
    code: str
    text: str


@dataclass(frozen=True)
class InputCheck:
    """What the input check found, in sentences, and the figures behind them (None: not measurable)."""

    sentences: list[CheckLine]
    pa_hu: float | None = None  # HU of the enhanced blood in the pulmonary trunk
    lung_volume_ml: float | None = None
    slice_spacing_mm: float | None = None
    coverage_mm: float | None = None  # length of lung along z
    noise_hu: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """The worst level of all sentences."""
        levels = {line.level for line in self.sentences}
        return "error" if "error" in levels else "warning" if "warning" in levels else "ok"

    @property
    def problems(self) -> list[CheckLine]:
        """The sentences that are not "ok", errors first."""
        return sorted((s for s in self.sentences if s.level != "ok"), key=lambda s: s.level != "error")

    def has(self, code: str) -> bool:
        """Whether a sentence with this code is there."""
        return any(s.code == code for s in self.sentences)

    def require(self, strict: bool = True) -> None:
        """Refuse the input when `strict` and any sentence is a warning or an error.

        Raises InputError with the first problem's sentence and how many more there are.
        """
        problems = self.problems
        if strict and problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InputError(f"input check failed: {problems[0].text}{more}; run without --strict to go on")

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self) | {"level": self.level}


@dataclass
class Result:
    """A finished segmentation on the volume's working grid (axial, LPS).

    `mask` uint8 (z, y, x): the value n stands for segments[n - 1], 0 for nothing. `probability` (of any mark)
    and `confidence` hold what segmenter and discriminator say inside the computed `box`; outside it nothing
    was computed and both are 0.
    """

    volume: Volume
    mask: np.ndarray
    probability: BoxArray
    confidence: BoxArray
    findings: list[Finding]
    check: InputCheck
    provenance: dict[str, Any]
    lungs: LungField
    segments: tuple[SegmentInfo, ...] = (EMBOLUS,)
    burden: Burden | None = None  # the clot's share of the arteries, where those were segmented too
    allowed: LungFilter | None = None  # where marks could stand

    @property
    def box(self) -> Box:
        """The part of the working grid that was computed."""
        return self.probability.box

    @cached_property
    def total_volume_mm3(self) -> float:
        """Volume of all findings together."""
        return float(sum(f.volume_mm3 for f in self.findings))

    def finding_mask(self, finding: Finding) -> np.ndarray:
        """Boolean array of `finding.box.shape`: the voxels of this finding alone."""
        if len(self.segments) > 1:
            return np.asarray(self.mask[finding.box.slices] == finding.id)
        from scipy import ndimage

        labels, _ = ndimage.label(self.mask[finding.box.slices], np.ones((3, 3, 3), dtype=bool))
        here = tuple(s - o for s, o in zip(finding.seed, finding.box.start, strict=True))
        return np.asarray(labels == labels[here])

    def output_mask(self) -> np.ndarray:
        """The mask on the input's own grid, uint8, array order of `volume.output_grid`."""
        return self.volume.to_output(self.mask)

    def output_probability(self) -> np.ndarray:
        """The probability on the input's own grid, float32."""
        return self.volume.to_output(self.probability.full(), linear=True)

    def output_confidence(self) -> np.ndarray:
        """The confidence map on the input's own grid, float32; 0 where nothing was computed."""
        return self.volume.to_output(self.confidence.full(), linear=True)
