"""QSettings: PythonQt's two forms of `value`, sequences as tuples, lists of one kept as lists."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore

from .values import to_python

_Base = QtCore.QSettings
_ONE = "@host:list of one"  # an .ini file cannot tell ['a'] from 'a'; Slicer's variant lists can


class QSettings(_Base):
    """Settings in a file; values read from disk are text, as in the application."""

    _h_cpp = True

    def value(self, key: str, *default: Any) -> Any:
        """The value, or the default. A third argument (PySide's type) is refused, as in PythonQt."""
        if len(default) > 1:
            raise ValueError("Could not find matching overload for given arguments: value(key, default) only")
        found = to_python(_Base.value(self, key))
        if isinstance(found, tuple) and found[:1] == (_ONE,):
            found = found[1:]
        if found is None and not self.contains(key):
            return to_python(default[0]) if default else None
        return found

    def setValue(self, key: str, value: Any) -> None:
        """Store a value."""
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(value, list) and len(value) == 1:
            value = [_ONE, *value]
        _Base.setValue(self, key, value)
