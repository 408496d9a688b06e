"""What all tests share: where the real scans lie, and single-threaded numerics so that runs repeat."""

import os
from pathlib import Path

import pytest

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans, beside the checkout or where PESEMISEG_SHARED points; skips where absent."""
    root = Path(os.environ.get("PESEMISEG_SHARED", REPOSITORY.parent / "shared"))
    if not (root / "data").is_dir():
        pytest.skip("the folder of real scans (../shared/data or $PESEMISEG_SHARED) is not here")
    return root / "data"
