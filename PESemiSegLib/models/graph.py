"""Reads from an ONNX file, without the onnx library, what matters for safety: signature and links.

ONNX is a protocol buffer, and a tensor in it may name another file to take its values from. A package uses
that to store its weights once, in the safetensors file; verification refuses links to anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PESemiSegLib.errors import PackageError

# onnx.proto3: the fields of each message in which, directly or deeper, tensors can lie.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_GRAPH, _INPUT, _OUTPUT, _VALUE_NAME = 7, 11, 12, 1
_EXTERNAL_DATA, _MAX_DEPTH = 13, 24


@dataclass
class GraphFacts:
    """What an ONNX file declares."""

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    links: list[dict[str, str]] = field(default_factory=list)
    """One per tensor kept in another file: location, offset and length as text."""


def read_facts(path: Path) -> GraphFacts:
    """Scan an ONNX file.

    Raises:
        PackageError: if it is not a protocol buffer of that kind, or is cut off.
    """
    facts = GraphFacts()
    try:
        _scan(memoryview(path.read_bytes()), "model", facts, depth=0)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise PackageError(f"{path.name} is not an ONNX file, or it is cut off") from error
    if not facts.inputs or not facts.outputs:
        raise PackageError(f"{path.name} is not an ONNX file: it declares no inputs or outputs")
    return facts


def _scan(message: memoryview, kind: str, facts: GraphFacts, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    links: dict[str, str] = {}
    for number, value in _fields(message):
        if isinstance(value, int):
            continue
        if child := _CHILDREN.get(kind, {}).get(number):
            _scan(value, child, facts, depth + 1)
        elif kind == "tensor" and number == _EXTERNAL_DATA:
            key, text = _text(value, 1), _text(value, 2)
            if key in links:
                raise ValueError("a link says one thing twice")
            links[key] = text
        elif kind == "graph" and depth == 1 and number in (_INPUT, _OUTPUT):
            names = facts.inputs if number == _INPUT else facts.outputs
            names.append(_text(value, _VALUE_NAME))
    if links:
        facts.links.append(links)


def _text(message: memoryview, wanted: int) -> str:
    """Return the last text stored under a field number ("" where there is none)."""
    text = ""
    for number, value in _fields(message):
        if number == wanted and not isinstance(value, int):
            text = bytes(value).decode()
    return text


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk the fields of one protocol-buffer message: (number, integer or bytes)."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 0:
            integer, position = _varint(message, position)
            yield number, integer
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("cut off")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("integer too long")
