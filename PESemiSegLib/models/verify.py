"""Decides whether a folder is a whole, untouched, harmless package; nothing here runs or unpickles."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PESemiSegLib.atomic import is_system_litter, sha256_of
from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.graph import read_facts
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.kinds import KINDS
from PESemiSegLib.models.tensors import TensorSpan, read_spans

INFO_NAME = "model.json"
MAX_INFO_BYTES = 2**20
MAX_FILE_BYTES = 2**30

_PICKLE_SUFFIXES = frozenset(
    {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npy", ".npz", ".joblib", ".dill", ".mat"}
)
_OUTPUTS = {
    "segmenter": ["logits", "features"],
    "discriminator": ["confidence_logits"],
    "identifier": ["logits", "class_logits", "deepest", "cam_weights"],
}
_ANY_FILE = frozenset({INFO_NAME, *(name for kind in KINDS.values() for name in kind.files)})


def verify_folder(folder: Path) -> tuple[PackageInfo, str]:
    """Check a package folder completely.

    Returns:
        The content of model.json and the SHA-256 of its bytes, which stands for the whole package because
        model.json holds the SHA-256 of every other file.

    Raises:
        PackageError: one line that names the package and what is wrong with it.
    """
    try:
        return _verify(folder)
    except PackageError as error:
        raise PackageError(f"model package {folder.name}: {error}") from error
    except OSError as error:
        raise PackageError(
            f"model package {folder.name} cannot be read: {error.strerror or error}"
        ) from error


def _verify(folder: Path) -> tuple[PackageInfo, str]:
    found = _listed(folder)
    likely = max(KINDS.values(), key=lambda kind: len(found.intersection(kind.files)))
    _require(found, likely.files)
    raw = (folder / INFO_NAME).read_bytes()
    info = PackageInfo.from_json(raw)
    _require(found, info.package_files)
    if set(info.files) != set(info.package_files):
        raise PackageError(f"model.json must list the SHA-256 of exactly {', '.join(info.package_files)}")
    for name in info.package_files:
        _refuse_pickle(folder / name)
        if sha256_of(folder / name) != info.files[name]:
            raise PackageError(
                f"{name} differs from its SHA-256 in model.json: damaged or changed; get it again"
            )
    for part in info.what.parts:
        _check_graph(folder / f"{part}.onnx", _inputs(part, info), read_spans(folder / f"{part}.safetensors"))
    return info, hashlib.sha256(raw).hexdigest()


def _listed(folder: Path) -> set[str]:
    """The names of its files: regular, known to some kind of package, none of absurd size.

    What the system leaves in every folder is passed over: nothing reads it, and no copy takes it along.
    """
    if not folder.is_dir():
        raise PackageError("it is not there, or is not a folder")
    found = {entry.name: entry for entry in folder.iterdir() if not is_system_litter(entry.name)}
    for name, entry in sorted(found.items()):
        if entry.suffix.lower() in _PICKLE_SUFFIXES:
            raise PackageError(f"{name} can carry a pickle, which can run code: refused")
        if name not in _ANY_FILE:
            raise PackageError(f"{name} does not belong in a package: refused")
        if entry.is_symlink() or not entry.is_file():
            raise PackageError(f"{name} is not a regular file: refused")
        limit = MAX_INFO_BYTES if name == INFO_NAME else MAX_FILE_BYTES
        if entry.stat().st_size > limit:
            raise PackageError(f"{name} is larger than {limit} bytes: refused")
    return set(found)


def _require(found: set[str], files: tuple[str, ...]) -> None:
    """Exactly model.json and these files."""
    expected = {INFO_NAME, *files}
    if missing := sorted(expected - found):
        raise PackageError(f"{', '.join(missing)} missing")
    if strange := sorted(found - expected):
        raise PackageError(f"{', '.join(strange)} does not belong in a package of its kind: refused")


def _refuse_pickle(path: Path) -> None:
    """Refuse the two ways pickles travel: bare (protocol 2 and later) and inside torch's zip files."""
    with path.open("rb") as file:
        start = file.read(8)
    # A safetensors file begins with its header's length, under 2 MB: its third byte is below any opcode.
    bare = start[:1] == b"\x80" and start[1:2] <= b"\x05" and start[2:3] >= b"\x20"
    if bare or start[:2] == b"PK":
        raise PackageError(f"{path.name} holds a zip archive or a pickle, which can run code: refused")


def _inputs(part: str, info: PackageInfo) -> list[str]:
    if part in ("segmenter", "identifier"):
        return ["image"]
    return ["probability", "features"] if info.discriminator_config.kind == "feature" else ["probability"]


def _check_graph(graph: Path, inputs: list[str], weights: dict[str, TensorSpan]) -> None:
    """The graph has the agreed signature, and reaches no file but its own weights."""
    facts = read_facts(graph)
    outputs = _OUTPUTS[graph.stem]
    if facts.inputs != inputs or facts.outputs != outputs:
        raise PackageError(
            f"{graph.name} maps {', '.join(facts.inputs)} to {', '.join(facts.outputs)}, "
            f"expected {', '.join(inputs)} to {', '.join(outputs)}"
        )
    own = f"{graph.stem}.safetensors"
    places = {(str(span.start), str(span.length)) for span in weights.values()}
    for link in facts.links:
        if link.get("location") != own:
            raise PackageError(f"{graph.name} reaches for the file {link.get('location')!r}: refused")
        if (link.get("offset"), link.get("length")) not in places:
            raise PackageError(f"{graph.name} takes bytes from {own} that are no tensor: refused")
