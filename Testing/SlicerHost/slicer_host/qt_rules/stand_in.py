"""What the stand-ins for C++ widgets are made of: declared properties, strict constructors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from PySide6 import QtCore

from . import signals
from .values import accept

Class = TypeVar("Class", bound=type)


def declared(type_name: str, default: Any, changed: str = "") -> QtCore.Property:
    """A plain Qt property that keeps its value and emits `changed` (a signature) with it."""
    key = object()

    def get(self: Any) -> Any:
        return _values(self).get(key, default)

    def put(self: Any, value: Any) -> None:
        value = accept(type_name, value)
        if value == get(self):
            return
        _values(self)[key] = value
        if changed:
            signals.emit(self, changed, value)

    return QtCore.Property(type_name, get, put)


def computed(
    type_name: str, get: Callable[[Any], Any], put: Callable[[Any, Any], None] | None = None
) -> QtCore.Property:
    """A Qt property with functions of its own; the setter gets a value of the right type or is not called."""

    def checked(self: Any, value: Any) -> None:
        assert put is not None
        put(self, accept(type_name, value))

    return QtCore.Property(type_name, get, checked if put else None)


def _values(instance: Any) -> dict[object, Any]:
    return instance.__dict__.setdefault("_h_values", {})


def stand_in(cls: Class) -> Class:
    """Mark a class as one that the application has in C++; its constructor takes a parent or nothing.

    A class may run `_h_setup(self)` once the object exists.
    """
    cls._h_cpp = True  # type: ignore[attr-defined]
    base = cls.__mro__[1]
    setup = cls.__dict__.get("_h_setup")

    def __init__(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords or len(arguments) > 1 or not all(a is None or _is_widget(a) for a in arguments):
            raise ValueError(
                f"Could not find matching overload for given arguments: {arguments}. "
                f"Available: {cls.__name__}(QWidget parent), {cls.__name__}()"
            )
        base.__init__(self, *arguments)
        if setup:
            setup(self)

    if "__init__" not in cls.__dict__:
        cls.__init__ = __init__
    return cls


def _is_widget(value: Any) -> bool:
    return any(base.__name__ == "QWidget" for base in type(value).__mro__)
