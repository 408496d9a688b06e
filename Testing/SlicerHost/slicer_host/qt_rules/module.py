"""The module `qt`: PySide6's classes under one roof, with PythonQt's rules on them."""

from __future__ import annotations

import sys
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets
from shiboken6 import Shiboken

from . import objects, settings, timers, value_objects

# Not offered; `Signal`, `Slot`, `Property` and `QtCore` exist in PythonQt but behave otherwise.
LEFT_OUT = {"QtMsgType", "QT_TR_NOOP", "QT_TR_NOOP_UTF8", "QtCore", "QtGui", "QtWidgets", "QtNetwork"}


def _classes() -> dict[str, Any]:
    """Everything named Q... of the four Qt libraries (PySide loads lazily: dir and getattr, not vars)."""
    found: dict[str, Any] = {}
    for library in (QtCore, QtGui, QtWidgets, QtNetwork):
        for name in dir(library):
            if name.startswith("Q") and name not in LEFT_OUT and isinstance(getattr(library, name), type):
                found[name] = getattr(library, name)
    return found


def _strict_isinstance(cls: type, instance: object) -> bool:
    """PythonQt's classes do not inherit from each other: a QPushButton is no instance of qt.QWidget.

    Only the object's own C++ class and Python subclasses of it answer True.
    """
    own = type(instance)
    if not issubclass(own, QtCore.QObject) or not sys.modules.get("qt"):
        return cls in own.__mro__
    if cls not in own.__mro__:
        return False
    return cls is next(
        base for base in own.__mro__ if objects.is_cpp_class(base)
    ) or not objects.is_cpp_class(cls)


def build() -> types.ModuleType:
    """Patch PySide6 in place (once) and return the module `qt`."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    module = types.ModuleType("qt", "Stand-in for PythonQt's qt module.")
    classes = _classes()
    ruled = [cls for cls in classes.values() if issubclass(cls, QtCore.QObject)]
    for cls in ruled:
        objects.remember(cls)
    for cls in sorted(ruled, key=lambda c: len(c.__mro__)):
        objects.install(cls)
    for cls in set(classes.values()) - set(ruled):
        value_objects.install(cls)
    classes["QSettings"] = settings.QSettings
    timers.install()
    vars(module).update(classes, Qt=QtCore.Qt)
    type(QtCore.QObject).__instancecheck__ = _strict_isinstance  # type: ignore[method-assign]
    sys.modules["qt"] = module
    return module


def is_destroyed(instance: Any) -> bool:
    """Whether the C++ part of an object is gone."""
    return not Shiboken.isValid(instance)
