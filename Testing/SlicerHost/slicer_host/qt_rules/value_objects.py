"""Classes that are no QObjects (table items, colours): no new attributes, stored lists as tuples."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from .values import to_python

HOLD_VALUES = ("data",)  # methods that give back what a module stored


def _refuse(instance: Any, name: str, value: Any) -> None:
    cls = type(instance)
    if not cls.__module__.startswith("PySide6."):
        instance.__dict__[name] = value
    elif hasattr(cls, name):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
    else:
        raise AttributeError(
            f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects "
            "is not allowed"
        )


def _with_tuples(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *arguments: to_python(method(self, *arguments))


def install(cls: type) -> None:
    """Put the rules on one class."""
    if issubclass(cls, enum.Enum | BaseException) or not cls.__module__.startswith("PySide6."):
        return
    if cls.__name__.endswith("Item"):
        for name in HOLD_VALUES:
            if name in cls.__dict__:
                setattr(cls, name, _with_tuples(cls.__dict__[name]))
    cls.__setattr__ = _refuse  # type: ignore[assignment, method-assign]
