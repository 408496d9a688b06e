"""Lists and mappings that tell when they are changed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any


class ObservedList(MutableSequence[Any]):
    """Behaves as a list but is none."""

    def __init__(self, values: list[Any], changed: Callable[[], None]) -> None:
        self._values, self._changed = values, changed

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._changed()

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._changed()

    def __len__(self) -> int:
        return len(self._values)

    def insert(self, index: int, value: Any) -> None:
        """Insert a value."""
        self._values.insert(index, value)
        self._changed()

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObservedList({self._values!r})"


class ObservedDict(MutableMapping[Any, Any]):
    """Behaves as a dict but is none."""

    def __init__(self, values: dict[Any, Any], changed: Callable[[], None]) -> None:
        self._values, self._changed = values, changed

    def __getitem__(self, key: Any) -> Any:
        return self._values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values[key] = value
        self._changed()

    def __delitem__(self, key: Any) -> None:
        del self._values[key]
        self._changed()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ObservedDict({self._values!r})"
