"""Checks a safetensors file from its bytes alone: header, types, and that the data fits exactly."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

from PESemiSegLib.errors import PackageError

MAX_HEADER_BYTES = 2**21 - 1
ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


class TensorSpan(NamedTuple):
    """Where one tensor lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Offset of the first byte from the start of the file."""
    length: int
    """Bytes."""


def read_spans(path: Path) -> dict[str, TensorSpan]:
    """Return every tensor's place in a safetensors file.

    Raises:
        PackageError: unless it is a well-formed safetensors file that its tensors fill without gap.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        header_bytes = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size - 8):
            raise PackageError(f"{path.name} is not a safetensors file, or it is cut off")
        raw = file.read(header_bytes)
    try:
        header = json.loads(raw)
        if not isinstance(header, dict):
            raise ValueError("no table of tensors")
        header.pop("__metadata__", None)
        data = 8 + header_bytes
        spans = {name: _span(entry, data) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PackageError(f"{path.name} has a damaged safetensors header: {error}") from error
    _check_fill(path, spans, data, size)
    return spans


def _span(entry: dict[str, Any], data: int) -> TensorSpan:
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in ITEM_BYTES:
        raise ValueError(f"unknown type {dtype!r}")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError("sizes and offsets must be whole numbers")
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError("a tensor's bytes do not match its shape")
    return TensorSpan(dtype, shape, data + begin, end - begin)


def _check_fill(path: Path, spans: dict[str, TensorSpan], data: int, size: int) -> None:
    position = data
    for span in sorted(spans.values(), key=lambda span: (span.start, span.length)):
        if span.start != position:
            raise PackageError(f"{path.name}: tensors overlap or leave a gap")
        position += span.length
    if position != size:
        raise PackageError(
            f"{path.name} has {size} bytes where its header describes {position}: cut off or padded"
        )
