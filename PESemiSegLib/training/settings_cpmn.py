"""What CPMN's strategy can be told."""

from __future__ import annotations

from dataclasses import dataclass

from PESemiSegLib.training.scheduled import require

PATHWAYS = ("both", "one")
GIVEN = ("contrast", "mutual")


@dataclass(frozen=True)
class CpmnConfig:
    """What CPMN's pathways learn beside L_seg and L_disc (see LossConfig), and from each other (Eq. 5).

    pathways: "both" learn, and the package is that of `network.volume.phase`; with "one" that pathway learns
    alone (the single-phase rows of Table 1). taught_by: "contrast" lets the contrast pathway's head teach the
    other (MLS); "mutual" lets both teach each other (deep mutual learning, Zhang 2018).
    """

    pathways: str = "both"
    taught_by: str = "contrast"
    classification: float = 1.0
    divergence: float = 0.25  # lambda 1
    alignment: float = 10.0  # lambda 2; 0 leaves IFA out
    grid: tuple[int, int, int] = (3, 4, 4)  # nodes of the affinity graph, at most
    reach: int = 0  # nodes that are connected, along each axis; 0 = all
    registered: bool = False  # the scans of a pair lie on each other already

    def __post_init__(self) -> None:
        require(self.pathways in PATHWAYS, f"cpmn.pathways is one of {', '.join(PATHWAYS)}")
        require(self.taught_by in GIVEN, f"cpmn.taught_by is one of {', '.join(GIVEN)}")
        weights = (self.classification, self.divergence, self.alignment)
        require(min(weights) >= 0, "cpmn's weights must be >= 0")
        require(
            len(self.grid) == 3 and all(type(n) is int and 1 <= n <= 16 for n in self.grid),
            "cpmn.grid is three numbers of nodes within 1 to 16",
        )
        require(type(self.reach) is int and self.reach >= 0, "cpmn.reach is a whole number >= 0")
