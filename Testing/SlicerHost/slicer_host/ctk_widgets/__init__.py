"""The module `ctk`: small stand-ins for the CTK widgets a panel uses; every other name is refused."""

from __future__ import annotations

import sys
import types

from . import boxes, buttons, paths, sliders


def build() -> types.ModuleType:
    """Return the module `ctk`."""
    if "ctk" in sys.modules:
        return sys.modules["ctk"]
    module = types.ModuleType("ctk", "Stand-in for PythonQt's ctk module.")
    for part in (boxes, buttons, paths, sliders):
        vars(module).update({name: cls for name, cls in vars(part).items() if name.startswith("ctk")})
    sys.modules["ctk"] = module
    return module
