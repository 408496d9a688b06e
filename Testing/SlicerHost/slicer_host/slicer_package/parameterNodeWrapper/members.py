"""The annotated members of a wrapper or pack class."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from . import serializers
from .annotations import Default, first


@dataclass
class Member:
    """One parameter: its type, serializer, default and other annotations."""

    name: str
    kind: Any
    serializer: serializers.Serializer
    default: Default
    extras: tuple[Any, ...]


def members_of(cls: type) -> dict[str, Member]:
    """Members in order. Raises Exception, in the application's words, for a type that cannot be stored."""
    members = {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        serializer = serializers.create(annotated)
        if serializer is None:
            raise Exception(f"Unable to create serializer for {cls} member {name}")
        is_annotated = typing.get_origin(annotated) is typing.Annotated
        kind, *extras = typing.get_args(annotated) if is_annotated else (annotated,)
        default = first(extras, Default)
        if name in cls.__dict__:
            default = Default(cls.__dict__[name])
        elif default is None:
            default = Default(generator=serializer.default)
        members[name] = Member(name, kind, serializer, default, tuple(extras))
    return members
