"""Made-up results of scans, without any network: what summaries, tests, pictures and pages are fed with."""

from collections.abc import Callable

import numpy as np
import pytest

from PESemiSegLib.evaluation.case import CaseResult, Measuring, measured
from PESemiSegLib.evaluation.truth import Truth
from PESemiSegLib.inference.result import Box, BoxArray
from PESemiSegLib.volumes.volume import from_array

SHAPE = (10, 24, 24)
Maker = Callable[..., CaseResult]


@pytest.fixture(scope="session")
def make_result() -> Maker:
    """A scan with `emboli` blocks of 2x3x3 voxels of 1 mm3, of which `found` are marked, and false marks."""

    def make(
        patient: str, emboli: int, found: int, false_marks: int = 0, site: str = "A", strength: float = 0.8
    ) -> CaseResult:
        truth = np.zeros(SHAPE, bool)
        instances = np.zeros(SHAPE, np.int16)
        probability = np.zeros(SHAPE, np.float16)
        for n in range(emboli):
            block = (
                slice(1, 3),
                slice(1 + 5 * (n // 4), 4 + 5 * (n // 4)),
                slice(1 + 6 * (n % 4), 4 + 6 * (n % 4)),
            )
            truth[block], instances[block] = True, n + 1
            if n < found:
                probability[block] = strength
        for n in range(false_marks):
            probability[7, 20, 1 + 3 * n] = strength / 2 + 0.15
        mask = (probability >= 0.5).astype(np.uint8)
        volume = from_array(np.zeros(SHAPE, np.int16), np.eye(4))
        locations = {n + 1: ("lobar", "segmental")[n % 2] for n in range(emboli)}
        box = BoxArray(probability, Box.whole(SHAPE), SHAPE)
        return measured(
            (patient, site), mask, box, Truth(truth, instances, locations), volume, 1.0, Measuring(), 0.0
        )

    return make
