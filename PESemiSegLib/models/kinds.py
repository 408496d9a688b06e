"""The kinds of model: what each marks, what its package is called, how many classes its network has.

A further kind is one entry here; training, packages, evaluation and the commands read it from this list.
"""

from __future__ import annotations

from dataclasses import dataclass

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.volumes.segments import HEALTHY_LUNG, LABELS, SegmentInfo


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    name: what commands and settings call it. package: `kind` in model.json. marks: what it finds, for
    sentences. masks: what the masks that it learns from mark, one of `segments.LABELS`. scans: what it reads,
    for sentences. parts: the networks in its package. healthy: which of the segments are no finding.
    contrast: whether its scans need contrast agent; else either will do. warning: what every use of it must
    say, beside that it is for research alone.
    """

    name: str
    package: str
    marks: str
    masks: str
    scans: str = "CT pulmonary angiograms, slice by slice, with a confidence map"
    parts: tuple[str, ...] = ("segmenter", "discriminator")
    healthy: tuple[SegmentInfo, ...] = ()
    contrast: bool = True
    warning: str = ""

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """What its label maps hold: value n is the n-th of them; background is 0."""
        return LABELS[self.masks]

    @property
    def classes(self) -> int:
        """Classes of the network, background included."""
        return len(self.segments) + 1

    @property
    def judged(self) -> bool:
        """Whether a discriminator belongs to its model."""
        return "discriminator" in self.parts

    @property
    def files(self) -> tuple[str, ...]:
        """All files of its package beside model.json; none may be missing and no other may be there."""
        networks = (f"{part}.{ending}" for part in self.parts for ending in ("safetensors", "onnx"))
        return (*networks, "README.md")


EMBOLI = Kind("emboli", "pe-segmenter", "pulmonary embolism", "emboli")
ARTERIES = Kind("arteries", "artery-segmenter", "aorta and pulmonary artery", "arteries")
OPACITIES = Kind(
    "opacities",
    "opacity-segmenter",
    "ground-glass opacity and consolidation",
    "opacities",
    scans="CT of the chest with or without contrast agent, slice by slice, with a confidence map",
    healthy=(HEALTHY_LUNG,),
    contrast=False,
)
IDENTIFICATION = Kind(
    "identification",
    "pe-identifier",
    "pulmonary embolism",
    "emboli",
    scans="whole scans, with the probability that there is an embolus and a map of what speaks for it",
    parts=("identifier",),
    warning="Telling pulmonary embolism on a scan without contrast agent rests on one report from one "
    "hospital. No published evidence from elsewhere supports it: "
    "nothing here may guide the care of a patient.",
)
KINDS = {kind.name: kind for kind in (EMBOLI, ARTERIES, OPACITIES, IDENTIFICATION)}
PACKAGE_KINDS = {kind.package: kind for kind in KINDS.values()}


def kind_named(name: str) -> Kind:
    """The kind of this name; raises ConfigError that lists the known ones."""
    if name not in KINDS:
        raise ConfigError(f"The kind '{name}' is not one of {', '.join(KINDS)}.")
    return KINDS[name]
