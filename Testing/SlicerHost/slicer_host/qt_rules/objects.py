"""Attribute access of Qt objects by PythonQt's rules: no new attributes, no overwritten slots."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore
from shiboken6 import Shiboken

from . import properties, signals
from .values import as_slot_arguments, to_python

# Methods that PySide adds or whose C++ form PythonQt cannot call.
PYSIDE_ONLY = {"getContentsMargins", "getItemPosition", "bindableObjectName"}
_originals: dict[type, Callable[[Any, str], Any]] = {}
Method = Callable[..., Any]


@functools.cache
def _original_of(cls: type) -> Callable[[Any, str], Any]:
    """PySide's own attribute access of the nearest class; some classes (QFile) have one of their own."""
    return next(_originals[base] for base in cls.__mro__ if base in _originals)


def _object_getattribute(instance: Any, name: str) -> Any:
    return _original_of(type(instance))(instance, name)


def is_cpp_class(cls: type) -> bool:
    """Whether the application has this class in C++: PySide's own classes and the host's stand-ins."""
    return cls.__module__.startswith("PySide6.") or "_h_cpp" in cls.__dict__


VIRTUAL = {"sizeHint", "minimumSizeHint", "event", "eventFilter", "metaObject", "qt_metacast", "qt_metacall"}


def class_name(instance: Any) -> str:
    """The C++ class of an object, for an instance of a Python subclass the nearest one."""
    cls = next(cls for cls in type(instance).__mro__ if is_cpp_class(cls))
    return cls.__name__ if "_h_cpp" in cls.__dict__ else _qt_class_name(instance.metaObject())


def _qt_class_name(meta: QtCore.QMetaObject) -> str:
    while meta.className() not in _known_classes:
        meta = meta.superClass()
    return meta.className()


def inherits(instance: Any, name: str) -> bool:
    """Whether the C++ class is or derives from the named one; stand-ins say which names to leave out."""
    bases = {cls.__name__ for cls in type(instance).__mro__ if is_cpp_class(cls)}
    hidden = getattr(type(instance), "_h_not_a", ())
    return name in bases - set(hidden)


class BoundSlot:
    """A C++ method of one object: no keywords, numpy numbers taken, lists given back as tuples."""

    def __init__(self, instance: Any, name: str, method: Method) -> None:
        self._instance, self.__name__, self._method = instance, name, method

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(f"Called {self.__name__}(...), but called slot does not support kwargs.")
        if not Shiboken.isValid(self._instance):
            raise ValueError(
                f"Trying to call '{self.__name__}' on a destroyed {type(self._instance).__name__} object"
            )
        return to_python(self._method(*as_slot_arguments(arguments)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundSlot) and (self._instance, self.__name__) == (
            other._instance,
            other.__name__,
        )

    def __hash__(self) -> int:
        return hash((id(self._instance), self.__name__))

    def __repr__(self) -> str:
        kind, address = type(self._instance).__name__, id(self._instance)
        return f"<qt slot {self.__name__} of {kind} instance at {address:#x}>"


def _connect(instance: Any) -> Method:
    def connect(*arguments: Any) -> Any:
        if len(arguments) == 2 and isinstance(arguments[0], str):
            return signals.connect(instance, *arguments)
        if arguments and isinstance(arguments[0], QtCore.QObject):  # PySide calls it so itself
            return signals._original_connect(*arguments)
        raise TypeError("connect takes a signature and a callable")

    return connect


def _disconnect(instance: Any) -> Method:
    return lambda signature, function=None: signals.disconnect(instance, signature, function)


_extra: dict[str, Callable[[Any], Any]] = {
    "connect": _connect,
    "disconnect": _disconnect,
    "name": lambda instance: instance.objectName,
    "className": lambda instance: lambda: class_name(instance),
    "inherits": lambda instance: lambda name: inherits(instance, name),
    "delete": lambda instance: lambda: Shiboken.delete(instance),
}
_known_classes: set[str] = set()


def get_attribute(instance: Any, name: str) -> Any:
    """`instance.name` by PythonQt's rules. Raises AttributeError, ValueError for a destroyed object."""
    if name.startswith(("__", "_h_")):
        return _object_getattribute(instance, name)
    if not Shiboken.isValid(instance):
        kind = "property" if name in properties_of(type(instance)) else "member"
        raise ValueError(f"Trying to read {kind} '{name}' from a destroyed {type(instance).__name__} object")
    if name in _extra and not (name == "name" and "name" in properties_of(type(instance))):
        return _extra[name](instance)
    if any(signature.split("(")[0] == name for signature in signals.host_signals(instance)):
        return signals.BoundSignal(instance, name)
    if name in PYSIDE_ONLY:
        raise AttributeError(f"{class_name(instance)} has no attribute named '{name}'")
    if name == "exec_":
        name = "exec"
    try:
        value = _object_getattribute(instance, name)
    except AttributeError:
        return _last_resort(instance, name)
    except SystemError:  # an error that PySide forgot to clear in the call before (QMenu.addAction does)
        value = _object_getattribute(instance, name)
    if isinstance(value, QtCore.SignalInstance):
        return signals.BoundSignal(instance, name, value)
    if type(value).__name__ in ("builtin_function_or_method", "method-wrapper"):
        return BoundSlot(instance, name, value)
    if _is_stand_in_member(instance, name):
        return BoundSlot(instance, name, value) if callable(value) else to_python(value)
    return value


def _is_stand_in_member(instance: Any, name: str) -> bool:
    if name.endswith("Event") or name in VIRTUAL:
        return False  # Qt looks for these itself and wants the plain method
    owner = next((cls for cls in type(instance).__mro__ if name in cls.__dict__), None)
    return owner is not None and "_h_cpp" in owner.__dict__


def _last_resort(instance: Any, name: str) -> Any:
    """Dynamic properties, then children by name, as attributes."""
    if name.encode() in [bytes(n.data()) for n in QtCore.QObject.dynamicPropertyNames(instance)]:
        return to_python(QtCore.QObject.property(instance, name))
    for child in QtCore.QObject.children(instance):
        if child.objectName == name:
            return child
    for cls in type(instance).__mro__:  # enumerators, which PySide keeps on the class
        if name[:1].isupper() and is_cpp_class(cls) and hasattr(cls, name):
            return getattr(cls, name)
    raise AttributeError(f"{class_name(instance)} has no attribute named '{name}'")


@functools.cache
def properties_of(cls: type) -> set[str]:
    """Names of the Qt properties of a class."""
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    return {meta.property(index).name() for index in range(meta.propertyCount())}


def set_attribute(instance: Any, name: str, value: Any) -> None:
    """`instance.name = value` by PythonQt's rules: properties; new ones on Python subclasses only."""
    cls = type(instance)
    if name.startswith(("__", "_h_")):
        instance.__dict__[name] = value
        return
    if not Shiboken.isValid(instance):
        raise ValueError(f"Trying to set '{name}' on a destroyed {cls.__name__} object")
    descriptor = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    if isinstance(descriptor, properties.Property | property):
        descriptor.__set__(instance, value)
    elif isinstance(descriptor, QtCore.Property):
        _set_declared(instance, name, value)
    elif name == "name":
        instance.objectName = value
    elif isinstance(descriptor, QtCore.Signal) or name in {
        s.split("(")[0] for s in signals.host_signals(instance)
    }:
        raise AttributeError(f"Signal '{name}' can not be overwritten on {class_name(instance)} object")
    elif _is_slot(cls, name):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {class_name(instance)} object")
    elif name.encode() in [bytes(n.data()) for n in QtCore.QObject.dynamicPropertyNames(instance)]:
        instance.setProperty(name, value)
    elif is_cpp_class(cls):
        raise AttributeError(
            f"'{name}' does not exist on {class_name(instance)} and creating new attributes on C++ objects "
            "is not allowed"
        )
    else:
        instance.__dict__[name] = value


def _is_slot(cls: type, name: str) -> bool:
    owner = next((base for base in cls.__mro__ if name in base.__dict__), None)
    return owner is not None and is_cpp_class(owner) and callable(getattr(owner, name, None))


def _set_declared(instance: Any, name: str, value: Any) -> None:
    """Assign a property that a stand-in declares; the stand-in's setter checks the type."""
    meta = instance.metaObject()
    declared = meta.property(meta.indexOfProperty(name))
    properties.write(instance, properties.Property(object, declared), value)


def _init_without_keywords(cls: type) -> Method:
    original = cls.__init__

    def __init__(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords:
            raise ValueError(f"Called {cls.__name__}(...), but called slot does not support kwargs.")
        original(self, *as_slot_arguments(arguments))

    return __init__


def remember(cls: type) -> None:
    """Keep the class's own attribute access; for all classes before the first `install`."""
    _originals[cls] = cls.__getattribute__


def install(cls: type) -> None:
    """Put the rules on one class of PySide."""
    _known_classes.add(cls.__name__)
    properties.install(cls)
    cls.__init__ = _init_without_keywords(cls)  # type: ignore[misc]
    cls.__getattribute__ = get_attribute  # type: ignore[assignment, method-assign]
    cls.__setattr__ = set_attribute  # type: ignore[assignment, method-assign]
