"""Translation: the text itself, for exactly the arguments the application takes."""

from __future__ import annotations

import os


def getContext(sourceFile: str) -> str:
    """Translation context of a source file."""
    return os.path.basename(sourceFile)


def tr(text):  # type: ignore[no-untyped-def]
    """The text. Raises TypeError for anything else."""
    return _text(text)


def translate(context, text):  # type: ignore[no-untyped-def]
    """The text. Raises TypeError for anything else."""
    _text(context)
    return _text(text)


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected string or bytes-like object, got '{type(text).__name__}'")
    return text
