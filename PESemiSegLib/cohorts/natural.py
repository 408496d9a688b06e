"""The order of file names as people count: 2 before 10."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def natural(paths: Iterable[Path]) -> list[Path]:
    """Sorted by name with numbers as numbers, upper and lower case alike."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

    return sorted(paths, key=key)
