"""How values lie in the parameter node: the strings and references the application writes."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

from . import packs
from .annotations import IsInstance, NotNone, Validator
from .observed import ObservedDict, ObservedList

Node = Any


class Serializer:
    """Reads, writes and checks one type. `live` values write themselves through when changed in place."""

    live = False

    def __init__(self, validators: tuple[Validator, ...] = ()) -> None:
        self.validators = validators

    def check(self, value: Any) -> None:
        """Raise ValueError or TypeError for a value that does not fit."""
        for validator in self.validators:
            validator.validate(value)

    def default(self) -> Any:
        """The type's own default."""
        raise NotImplementedError

    def is_in(self, node: Node, name: str) -> bool:
        """Whether the node holds a value."""
        return node.HasParameter(name) and node.GetParameter(name) != ""

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """The value in the node. Values are not validated here, as in the application."""
        raise NotImplementedError

    def write(self, node: Node, name: str, value: Any) -> None:
        """Put the value into the node."""
        raise NotImplementedError

    def remove(self, node: Node, name: str) -> None:
        """Take the value out of the node."""
        for known in list(node.GetParameterNames()):
            if known == name or known.startswith(name + "."):
                node.UnsetParameter(known)


class Scalar(Serializer):
    """One string: text, numbers, truth values, paths, enums by name."""

    def __init__(self, kind: type, validators: tuple[Validator, ...]) -> None:
        accepted = (int, float) if kind is float else kind
        super().__init__((NotNone(), IsInstance(accepted), *validators))
        self.kind = kind

    def default(self) -> Any:
        """'' 0 0.0 False Path('.') or the first enum member."""
        return next(iter(self.kind)) if issubclass(self.kind, enum.Enum) else self.kind()

    def is_in(self, node: Node, name: str) -> bool:
        """Text may be empty; nothing else may."""
        return node.HasParameter(name) and (self.kind is str or node.GetParameter(name) != "")

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """Convert the string; ValueError where it is none."""
        text = node.GetParameter(name)
        if issubclass(self.kind, enum.Enum):
            return self.kind[text]
        if self.kind is bool:
            if text not in ("True", "False"):
                raise ValueError(f"parameter {name} is {text!r}, not a truth value")
            return text == "True"
        return self.kind(text)

    def write(self, node: Node, name: str, value: Any) -> None:
        """Write the string."""
        node.SetParameter(name, value.name if isinstance(value, enum.Enum) else str(value))


class Reference(Serializer):
    """A node reference."""

    def __init__(self, kind: type, validators: tuple[Validator, ...]) -> None:
        super().__init__(validators)
        self.kind = kind

    def check(self, value: Any) -> None:
        """None or a node of the class."""
        if value is not None:
            IsInstance(self.kind).validate(value)
        super().check(value)

    def default(self) -> Any:
        """No node."""
        return None

    def is_in(self, node: Node, name: str) -> bool:
        """Whether it was ever written."""
        return bool(node.HasParameter(name))

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """The node, or None."""
        return node.GetNodeReference(name)

    def write(self, node: Node, name: str, value: Any) -> None:
        """Set the reference."""
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)


class Sequence(Serializer):
    """list[...] as name.len, name.0, ...; tuple[...] as name.0, ... without length."""

    def __init__(self, items: list[Serializer] | Serializer, validators: tuple[Validator, ...]) -> None:
        super().__init__(validators)
        self.items, self.live = items, not isinstance(items, list)

    def _item(self, index: int) -> Serializer:
        return self.items[index] if isinstance(self.items, list) else self.items

    def check(self, value: Any) -> None:
        """A sequence whose items all fit."""
        NotNone().validate(value)
        if self.live and not isinstance(value, list | tuple | ObservedList):
            IsInstance(list).validate(value)
        if not self.live and (not isinstance(value, tuple) or len(value) != len(self.items)):  # type: ignore[arg-type]
            IsInstance(tuple).validate(value)
            raise ValueError(f"expected {len(self.items)} values, got {len(value)}")  # type: ignore[arg-type]
        for index, item in enumerate(value):
            self._item(index).check(item)
        super().check(value)

    def default(self) -> Any:
        """An empty list, or a tuple of defaults."""
        return [] if self.live else tuple(item.default() for item in self.items)  # type: ignore[union-attr]

    def is_in(self, node: Node, name: str) -> bool:
        """By the length, or the first item."""
        return bool(node.HasParameter(f"{name}.len" if self.live else f"{name}.0"))

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """A list that writes itself through, or a tuple."""
        if not self.live:
            return tuple(s.read(node, f"{name}.{i}", changed) for i, s in enumerate(self.items))  # type: ignore[arg-type]
        count = int(node.GetParameter(f"{name}.len"))
        values: list[Any] = []
        observed = ObservedList(values, lambda: changed(list(values)))
        inner = lambda _value: changed(list(values))  # noqa: E731
        values.extend(self._item(i).read(node, f"{name}.{i}", inner) for i in range(count))
        return observed

    def write(self, node: Node, name: str, value: Any) -> None:
        """Write length and items anew."""
        plain = list(value)
        self.remove(node, name)
        if self.live:
            node.SetParameter(f"{name}.len", str(len(plain)))
        for index, item in enumerate(plain):
            self._item(index).write(node, f"{name}.{index}", item)


class Mapping(Serializer):
    """dict[...] as name.len, name.0.0 (key), name.0.1 (value), ..."""

    live = True

    def __init__(self, key: Serializer, value: Serializer, validators: tuple[Validator, ...]) -> None:
        super().__init__(validators)
        self.key, self.value = key, value

    def check(self, value: Any) -> None:
        """A mapping whose keys and values all fit."""
        NotNone().validate(value)
        if not isinstance(value, dict | ObservedDict):
            IsInstance(dict).validate(value)
        for one, other in value.items():
            self.key.check(one)
            self.value.check(other)
        super().check(value)

    def default(self) -> Any:
        """Empty."""
        return {}

    def is_in(self, node: Node, name: str) -> bool:
        """By the length."""
        return bool(node.HasParameter(f"{name}.len"))

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """A mapping that writes itself through."""
        values: dict[Any, Any] = {}
        for index in range(int(node.GetParameter(f"{name}.len"))):
            key = self.key.read(node, f"{name}.{index}.0", changed)
            values[key] = self.value.read(node, f"{name}.{index}.1", changed)
        return ObservedDict(values, lambda: changed(dict(values)))

    def write(self, node: Node, name: str, value: Any) -> None:
        """Write everything anew."""
        plain = dict(value.items())
        self.remove(node, name)
        node.SetParameter(f"{name}.len", str(len(plain)))
        for index, (one, other) in enumerate(plain.items()):
            self.key.write(node, f"{name}.{index}.0", one)
            self.value.write(node, f"{name}.{index}.1", other)


class Union(Serializer):
    """Optional[...]: name.0 for the value, name.1 = 'True' for None."""

    def __init__(self, value: Serializer, validators: tuple[Validator, ...]) -> None:
        super().__init__(validators)
        self.value = value

    def check(self, value: Any) -> None:
        """None or what fits the type."""
        if value is not None:
            self.value.check(value)
        super().check(value)

    def default(self) -> Any:
        """None."""
        return None

    def is_in(self, node: Node, name: str) -> bool:
        """Either of the two."""
        return bool(node.HasParameter(f"{name}.1")) or self.value.is_in(node, f"{name}.0")

    def read(self, node: Node, name: str, changed: Callable[[Any], None]) -> Any:
        """The value or None."""
        stored = self.value.is_in(node, f"{name}.0")
        return self.value.read(node, f"{name}.0", changed) if stored else None

    def write(self, node: Node, name: str, value: Any) -> None:
        """Write one, remove the other."""
        self.remove(node, name)
        if value is None:
            node.SetParameter(f"{name}.1", "True")
        else:
            self.value.write(node, f"{name}.0", value)


def create(annotated: Any) -> Serializer | None:
    """The serializer of a type, None where there is none."""
    validators: tuple[Validator, ...] = ()
    if typing.get_origin(annotated) is typing.Annotated:
        annotated, *extras = typing.get_args(annotated)
        validators = tuple(extra for extra in extras if isinstance(extra, Validator))
    origin, arguments = typing.get_origin(annotated), typing.get_args(annotated)
    if annotated is list:
        raise NotImplementedError("bare list: say list[...]")
    if origin in (list, dict, tuple):
        inner = [create(argument) for argument in arguments]
        if None in inner:
            return None
        if origin is dict:
            return Mapping(*inner, validators)  # type: ignore[arg-type]
        return Sequence(inner[0] if origin is list else inner, validators)  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        others = [argument for argument in arguments if argument is not type(None)]
        inner_one = create(others[0]) if len(others) == 1 and len(arguments) == 2 else None
        return Union(inner_one, validators) if inner_one else None
    if not isinstance(annotated, type):
        return None
    if packs.isParameterPack(annotated):
        return packs.PackSerializer(annotated, validators)
    if annotated in (bool, int, float, str, pathlib.Path) or issubclass(annotated, enum.Enum):
        return Scalar(annotated, validators)
    return Reference(annotated, validators) if annotated.__name__.startswith("vtkMRML") else None
