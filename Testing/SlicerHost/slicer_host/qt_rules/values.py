"""Values crossing the border: what a property takes, how results look (tuples, plain integers)."""

from __future__ import annotations

import enum
import numbers
import operator
from typing import Any

TEXT, WHOLE, REAL = "QString", {"int", "uint", "qlonglong", "qulonglong"}, {"double", "float", "qreal"}


def to_python(value: Any) -> Any:
    """A result as PythonQt hands it out: sequences as tuples, also inside mappings; enums as integers."""
    if isinstance(value, enum.Enum) and isinstance(value.value, int):
        return int(value.value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return tuple(to_python(item) for item in value)
    if type(value) is dict:
        return {key: to_python(item) for key, item in value.items()}
    return value


def accept(type_name: str, value: Any) -> Any:
    """The value as a property of this C++ type takes it.

    Narrower than PythonQt, which also makes text of anything, truncates 3.7 and takes any object for a
    truth value: each of these has hidden a mistake in some module. Raises TypeError.
    """
    if type_name == TEXT:
        if isinstance(value, str):
            return value
    elif type_name == "bool":
        if isinstance(value, bool | int) or type(value).__name__ in ("bool_", "bool"):
            return bool(value)
    elif type_name in WHOLE:
        if isinstance(value, numbers.Integral) or hasattr(type(value), "__index__"):
            return operator.index(value)
    elif type_name in REAL:
        if isinstance(value, numbers.Real):
            return float(value)
    elif type_name == "QStringList":
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return list(value)
    elif value is not None or type_name == "QVariant":
        return value
    raise TypeError


def as_slot_arguments(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of a C++ method: numpy's numbers and truth values become Python's own."""
    return tuple(_plain(argument) for argument in arguments)


def _plain(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        if hasattr(type(value), "__index__"):
            return operator.index(value)
        if type(value).__name__ in ("bool_", "bool"):
            return bool(value)
        if isinstance(value, numbers.Real):
            return float(value)
    if isinstance(value, tuple) and type(value) is tuple:
        return list(value)
    return value
