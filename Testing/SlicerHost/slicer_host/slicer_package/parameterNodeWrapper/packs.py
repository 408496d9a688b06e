"""parameterPack: named values under one name, stored as name.member; FloatRange is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .annotations import IsInstance, NotNone, Validator


def parameterPack(cls: type) -> type:
    """Make a class with annotated members into a pack."""
    from .members import members_of

    members = members_of(cls)

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        if len(values) > len(members):
            raise TypeError(f"{cls.__name__} takes {len(members)} values")
        given = dict(zip(members, values, strict=False)) | named
        if unknown := set(given) - set(members):
            raise TypeError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
        for name, member in members.items():
            setattr(self, name, given[name] if name in given else member.default.make())

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name in members:
            members[name].serializer.check(value)
        object.__setattr__(self, name, value)
        if name in members and "_changed" in self.__dict__:
            self.__dict__["_changed"](self)

    def __repr__(self: Any) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in members)
        text = f"{cls.__name__}({inside})"
        return f"Observed({text})" if "_changed" in self.__dict__ else text

    def __eq__(self: Any, other: object) -> bool:
        same = isinstance(other, cls)
        return same and all(getattr(self, name) == getattr(other, name) for name in members)

    for method in (__init__, __setattr__, __repr__, __eq__):
        setattr(cls, method.__name__, method)
    cls.__hash__ = None  # type: ignore[assignment]
    cls.allParameters = members  # type: ignore[attr-defined]
    cls._is_parameter_pack = True  # type: ignore[attr-defined]
    return cls


def isParameterPack(value: Any) -> bool:
    """Whether a class or an instance is a pack."""
    return bool(getattr(value, "_is_parameter_pack", False))


class PackSerializer:
    """Stores each member under its own name."""

    live = True

    def __init__(self, kind: Any, validators: tuple[Validator, ...]) -> None:
        self.kind, self.validators = kind, validators

    def check(self, value: Any) -> None:
        """A pack of this class."""
        NotNone().validate(value)
        IsInstance(self.kind).validate(value)
        for validator in self.validators:
            validator.validate(value)

    def default(self) -> Any:
        """A pack of defaults."""
        return self.kind()

    def is_in(self, node: Any, name: str) -> bool:
        """Whether all members are there."""
        return all(m.serializer.is_in(node, f"{name}.{key}") for key, m in self.kind.allParameters.items())

    def read(self, node: Any, name: str, changed: Callable[[Any], None]) -> Any:
        """A pack that writes itself through. Members are not validated on read."""
        pack = self.kind.__new__(self.kind)
        for key, member in self.kind.allParameters.items():
            value = member.serializer.read(node, f"{name}.{key}", lambda _value: changed(pack))
            object.__setattr__(pack, key, value)
        object.__setattr__(pack, "_changed", changed)
        return pack

    def write(self, node: Any, name: str, value: Any) -> None:
        """Write the members."""
        for key, member in self.kind.allParameters.items():
            member.serializer.write(node, f"{name}.{key}", getattr(value, key))

    def remove(self, node: Any, name: str) -> None:
        """Remove the members."""
        for key, member in self.kind.allParameters.items():
            member.serializer.remove(node, f"{name}.{key}")


class FloatRange:
    """Two numbers, the first not above the second."""

    _minimum: float = 0.0
    _maximum: float = 0.0

    minimum = property(lambda self: self._minimum)
    maximum = property(lambda self: self._maximum)


def _finish() -> None:
    """Make FloatRange a pack; late, because packs need the serializers and these need packs."""
    parameterPack(FloatRange)
    make = FloatRange.__init__

    def __init__(self: Any, minimum: float, maximum: float) -> None:
        if minimum > maximum:
            raise ValueError(f"minimum {minimum} above maximum {maximum}")
        make(self, float(minimum), float(maximum))  # type: ignore[call-arg]

    FloatRange.__init__ = __init__  # type: ignore[method-assign, assignment]
