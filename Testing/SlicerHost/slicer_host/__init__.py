"""A strict stand-in for 3D Slicer: a scripted module runs on it unchanged.

`start()` makes `slicer`, `qt`, `ctk` and the MRML scene importable in this process; `load_module` loads a
module as the application does at start-up; `reset` brings the scene and the window back between tests;
`check` fails on whatever the application would only have printed. One host per process. See
Docs/slicer_host.md.
"""

from __future__ import annotations

from .environment import why_not
from .host import load_module, picture, reset, running_without_main_window, start, stop, unload_module
from .watch import UnseenError, check, expected, take

__all__ = [
    "UnseenError",
    "check",
    "expected",
    "load_module",
    "picture",
    "reset",
    "running_without_main_window",
    "start",
    "stop",
    "take",
    "unload_module",
    "why_not",
]
