"""Owns what a mark means: its name, colour and SNOMED codes, as Slicer and DICOM write them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded term of a terminology, such as SNOMED CT (`scheme` "SCT")."""

    value: str
    scheme: str
    meaning: str

    def __str__(self) -> str:
        """Slicer's form of a term, `scheme^value^meaning`."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class SegmentInfo:
    """One kind of mark in a label map; its label value is its place in the list of segments, from 1."""

    name: str
    colour_rgb: tuple[int, int, int]  # 0 to 255
    category: Code
    type: Code
    region: Code | None = None  # None: the type itself is a place
    description: str = "Found by a program; research use only, not reviewed"

    @property
    def terminology_entry(self) -> str:
        """Slicer's terminology string: category, type and modifier, then anatomic region and modifier."""
        return (
            f"Segmentation category and type - DICOM master list~{self.category}~{self.type}~^^"
            f"~Anatomic codes - DICOM master list~{self.region or '^^'}~^^"
        )


EMBOLUS = SegmentInfo(
    name="Pulmonary embolus",
    colour_rgb=(150, 98, 83),  # the colour of Embolus in the DICOM master list
    category=Code("49755003", "SCT", "Morphologically Altered Structure"),
    type=Code("55584005", "SCT", "Embolus"),
    region=Code("81040000", "SCT", "Pulmonary artery"),
)
_LUNG = Code("39607008", "SCT", "Lung")
GROUND_GLASS = SegmentInfo(
    name="Ground-glass opacity",
    colour_rgb=(230, 159, 0),
    category=Code("49755003", "SCT", "Morphologically Altered Structure"),
    type=Code("1217294009", "SCT", "Ground glass lung opacity"),
    region=_LUNG,
)
CONSOLIDATION = SegmentInfo(
    name="Consolidation",
    colour_rgb=(0, 158, 115),
    category=Code("49755003", "SCT", "Morphologically Altered Structure"),
    type=Code("95436008", "SCT", "Lung consolidation"),
    region=_LUNG,
)
_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
AORTA = SegmentInfo("Aorta", (224, 97, 76), _ANATOMY, Code("15825003", "SCT", "Aorta"))
PULMONARY_ARTERY = SegmentInfo(
    "Pulmonary artery", (0, 122, 171), _ANATOMY, Code("81040000", "SCT", "Pulmonary artery")
)
HEALTHY_LUNG = SegmentInfo("Healthy lung", (128, 174, 128), _ANATOMY, _LUNG)
LABELS = {
    "emboli": (EMBOLUS,),
    "arteries": (AORTA, PULMONARY_ARTERY),
    "opacities": (GROUND_GLASS, CONSOLIDATION, HEALTHY_LUNG),
}
"""What a mask may mark: label value n is the n-th of the segments; background is 0."""
