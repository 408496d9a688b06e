"""Signals: connect by signature string, callables held strongly, arguments cut to what the slot takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore
from shiboken6 import Shiboken

from .. import watch
from .values import to_python

Slot = Callable[..., Any]
_original_connect = QtCore.QObject.connect
_original_disconnect = QtCore.QObject.disconnect
# C++ address -> [(signature, what the module passed, what Qt or the stand-in holds)]
_connections: dict[int, list[tuple[str, Slot, Slot]]] = {}


def normalised(signature: str) -> str:
    """`clicked( bool )` as Qt's meta object spells it."""
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()


def host_signals(instance: Any) -> tuple[str, ...]:
    """Signatures a stand-in class declares in Python; Qt does not know them."""
    return _declared_by(type(instance))


@functools.cache
def _declared_by(cls: type) -> tuple[str, ...]:
    return tuple(s for base in cls.__mro__ for s in base.__dict__.get("_h_signals", ()))


def qt_signals(instance: Any) -> list[str]:
    """Signatures of the object's Qt signals."""
    meta = instance.metaObject()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    kind = QtCore.QMetaMethod.MethodType.Signal
    return [bytes(m.methodSignature().data()).decode() for m in methods if m.methodType() == kind]


def _capacity(function: Slot) -> int | None:
    """How many positional arguments a Python function takes at most; None for any number or unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _guarded(function: Slot, signature: str, where: str) -> Slot:
    """The callable that Qt calls: fewer arguments where the slot takes fewer, errors into the record."""
    cut = inspect.isfunction(function) or inspect.ismethod(function)
    capacity = _capacity(function) if cut else None

    def call(*arguments: Any) -> None:
        values = to_python(tuple(arguments))
        try:
            function(*values[:capacity])
        except Exception as error:  # PythonQt prints and goes on; so must the host, but the test fails
            watch.record_exception(error, f"slot of {where} {signature}")

    return call


def connect(instance: Any, signature: str, function: Slot) -> bool:
    """Connect by signature. An unknown signature raises: the application only prints and returns False."""
    signature = normalised(signature)
    if not callable(function):
        raise TypeError(f"connect({signature!r}): {function!r} is not callable")
    name = type(instance).__name__
    held = _guarded(function, signature, name)
    if signature in host_signals(instance):
        instance.__dict__.setdefault("_h_slots", {}).setdefault(signature, []).append(held)
    elif signature in qt_signals(instance):
        held = _of_arity(held, signature)
        _original_connect(instance, QtCore.SIGNAL(signature), held)
    else:
        raise ValueError(f"{name} has no signal {signature!r}: connect would return False in the application")
    key = Shiboken.getCppPointer(instance)[0]
    if key not in _connections:
        _original_connect(instance, QtCore.SIGNAL("destroyed()"), lambda: _connections.pop(key, None))
    _connections.setdefault(key, []).append((signature, function, held))
    return True


def _of_arity(held: Slot, signature: str) -> Slot:
    """PySide counts the arguments of a function: give it one with exactly the signal's number."""
    inside = signature[signature.index("(") + 1 : -1]
    variants: tuple[Slot, ...] = (
        lambda: held(),
        lambda a: held(a),
        lambda a, b: held(a, b),
        lambda a, b, c: held(a, b, c),
        lambda a, b, c, d: held(a, b, c, d),
    )
    return variants[len(inside.split(",")) if inside else 0]


def disconnect(instance: Any, signature: str, function: Slot | None = None) -> bool:
    """Undo `connect` for one callable, or for all of the signal; False where nothing was connected."""
    signature = normalised(signature)
    known = _connections.get(Shiboken.getCppPointer(instance)[0], [])
    for entry in [e for e in known if e[0] == signature and function in (None, e[1])]:
        known.remove(entry)
        if signature in host_signals(instance):
            instance.__dict__["_h_slots"][signature].remove(entry[2])
        else:
            _original_disconnect(instance, QtCore.SIGNAL(signature), entry[2])
        if function is not None:
            return True
    return function is None


def emit(instance: Any, signature: str, *values: Any) -> None:
    """Emit a stand-in's own signal, unless the object's signals are blocked."""
    if instance.signalsBlocked():
        return
    for slot in list(instance.__dict__.get("_h_slots", {}).get(signature, ())):
        slot(*values)


class BoundSignal:
    """`button.clicked`: the signal of one object, in the overload with the most arguments."""

    def __init__(self, instance: Any, name: str, raw: QtCore.SignalInstance | None = None) -> None:
        self._instance, self._raw = instance, raw
        signatures = qt_signals(instance) if raw is not None else host_signals(instance)
        self._signature = next(s for s in signatures if s.split("(")[0] == name)

    def connect(self, function: Slot) -> bool:
        """Connect a callable; it is held strongly."""
        return connect(self._instance, self._signature, function)

    def disconnect(self, function: Slot | None = None) -> bool:
        """Disconnect one callable, or all."""
        return disconnect(self._instance, self._signature, function)

    def emit(self, *values: Any) -> None:
        """Emit the signal."""
        if self._raw is None:
            emit(self._instance, self._signature, *values)
        else:
            inside = self._signature[self._signature.index("(") + 1 : -1]
            overload = inside if len(values) == len(inside.split(",")) else ""
            (self._raw[overload] if "," not in inside else self._raw).emit(*values)

    __call__ = emit
