"""Where PESemiSeg keeps the user's models and jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

HOME_VARIABLE = "PESEMISEG_HOME"


def data_folder(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Path:
    """Where PESemiSeg keeps the user's data: $PESEMISEG_HOME, or the system's place for such data.

    The folder that platformdirs names, found with the standard library alone: Slicer's Python asks too.
    """
    if chosen := environment.get(HOME_VARIABLE):
        return Path(chosen).expanduser()
    if system == "win32":
        local = environment.get("LOCALAPPDATA")
        return Path(local or Path.home() / "AppData" / "Local") / "pesemiseg"
    if system == "darwin":
        return Path.home() / "Library" / "Application Support" / "pesemiseg"
    return (
        Path(environment.get("XDG_DATA_HOME", "").strip() or Path.home() / ".local" / "share") / "pesemiseg"
    )
