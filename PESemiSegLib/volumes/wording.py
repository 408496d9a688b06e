"""Small words of messages: counts with their noun, and long lists cut short."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """1 slice, 2 slices."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def some(items: Sequence[str], most: int = 4, joint: str = ", ") -> str:
    """The first few of a list, and how many more there are."""
    more = len(items) - most
    return joint.join(items[:most]) + (f" and {more} more" if more > 0 else "")
