"""What the host needs from the machine: exact packages, offscreen OpenGL, environment variables."""

from __future__ import annotations

import ctypes.util
import os
import sys
from importlib import metadata

PACKAGES = {"slicer-core": "5.12.4.0", "vtk": "9.6.0", "PySide6-Essentials": "6.8.3"}
# Debian's names of what Qt and VTK load at run time; CI images of other systems name them otherwise.
SYSTEM_PACKAGES = (
    "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 "
    "fonts-dejavu-core"
)
LIBRARIES = ("EGL", "GL", "xkbcommon", "dbus-1", "fontconfig", "glib-2.0")


def why_not() -> str:
    """One sentence saying what keeps the host from starting here; empty where it can start."""
    if not sys.platform.startswith("linux"):
        return "the Slicer host runs on Linux only"
    wrong = []
    for name, wanted in PACKAGES.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            wrong.append(f"{name}=={wanted} ({found})")
    if wrong:
        return f"the Slicer host needs {', '.join(wrong)}: pip install -c constraints.txt '.[host]'"
    missing = [name for name in LIBRARIES if ctypes.util.find_library(name) is None]
    if missing:  # VTK without any OpenGL ends in a segmentation fault, not in an exception
        return f"the Slicer host needs the libraries {', '.join(missing)}: apt-get install {SYSTEM_PACKAGES}"
    return ""


def prepare() -> None:
    """Set what Qt and VTK read at import; must run before either is imported."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = "vtkEGLRenderWindow"
    os.environ["PYSIDE6_OPTION_PYTHON_ENUM"] = "0x07"  # plain integers at class level, as in PythonQt
    os.environ.setdefault("QT_SCALE_FACTOR", "1")
    os.environ.setdefault("LP_NUM_THREADS", "1")
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")
