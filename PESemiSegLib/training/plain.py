"""Settings as plain data: nested dataclasses to dicts, lists and scalars, and back, types checked."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from PESemiSegLib.errors import ConfigError

T = TypeVar("T")


def to_plain(config: Any) -> dict[str, Any]:
    """Dataclass -> dicts, lists and scalars."""
    plain: dict[str, Any] = _listed(asdict(config))
    return plain


def from_plain(kind: type[T], values: dict[str, Any]) -> T:
    """The inverse of `to_plain`; raises ConfigError on unknown names and wrong types."""
    if not isinstance(values, dict):
        raise ConfigError(f"{kind.__name__}: expected a mapping, got {type(values).__name__}.")
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{kind.__name__} has no setting {', '.join(map(str, unknown))}.")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(f"{kind.__name__}.{name}", hints[name], v) for name, v in values.items()})


def changed_part(config: Any, name: str, value: Any) -> Any:
    """A part of the settings with some of its own replaced, where the value is a mapping; else the value.

    Raises ConfigError as `from_plain`.
    """
    part = getattr(config, name, None)
    if not isinstance(value, Mapping) or not is_dataclass(part):
        return value
    kept = {entry.name: getattr(part, entry.name) for entry in fields(part)}
    return from_plain(type(part), kept | {inner: changed_part(part, inner, value[inner]) for inner in value})


def _typed(name: str, hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else from_plain(hint, value)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{name}: expected a list, got {value!r}.")
        return tuple(value)
    choices = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if isinstance(value, dict) and (parts := [c for c in choices if is_dataclass(c)]):
        return from_plain(parts[0], value)  # type: ignore[arg-type]
    if float in choices and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = tuple(c for c in choices if isinstance(c, type))
    if plain and (not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain)):
        raise ConfigError(f"{name}: expected {' or '.join(c.__name__ for c in plain)}, got {value!r}.")
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(entry) for name, entry in value.items()}
    return [_listed(entry) for entry in value] if isinstance(value, (tuple, list)) else value
