"""Reads and writes model packages: weights, graphs, settings and card, verified as a whole."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.atomic import sha256_of
from PESemiSegLib.errors import ConfigError, PackageError
from PESemiSegLib.models.archive import extract
from PESemiSegLib.models.card import render_card
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.kinds import IDENTIFICATION, kind_named
from PESemiSegLib.models.staging import staged_folder
from PESemiSegLib.models.verify import INFO_NAME, verify_folder

if TYPE_CHECKING:
    from PESemiSegLib.networks.discriminator import Discriminator
    from PESemiSegLib.networks.segmenter import Segmenter


@dataclass(frozen=True)
class ModelPackage:
    """A verified package.

    Attributes:
        info: its model.json.
        path: where the user keeps it, a folder or a .zip.
        folder: its files on disk; for a .zip a private copy that lives as long as this object.
        sha256: stands for the whole package (hash of model.json, which holds the hashes of all other files).
    """

    info: PackageInfo
    path: Path
    folder: Path
    sha256: str
    _unpacked: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    def require(self, kind: str) -> None:
        """Raise ConfigError unless the model marks what is asked for, such as "emboli" or "arteries"."""
        own = self.info.what
        if own is IDENTIFICATION and kind != own.name:
            raise ConfigError(
                f"The model {self.info.name} identifies scans and does not mark {kind}: it is for `pesemiseg "
                "identify`; name another model."
            )
        if own is not kind_named(kind):
            raise ConfigError(
                f"The model {self.info.name} marks {own.name}, not {kind}: "
                f"add --kind {own.name}, or name another model."
            )

    def file(self, name: str) -> Path:
        """Return the path of one file, for engines that read by path.

        ONNX graphs must be read so, not from bytes: they take their weights from the safetensors beside them.

        Raises:
            PackageError: if a package has no file of that name.
        """
        if name not in (INFO_NAME, *self.info.package_files):
            raise PackageError(f"model package {self.path.name} has no file {name!r}")
        return self.folder / name

    def read_bytes(self, name: str) -> bytes:
        """Return the content of one file."""
        return self.file(name).read_bytes()


def read_package(path: str | Path) -> ModelPackage:
    """Open and verify a package; needs no torch.

    Args:
        path: a package folder, or a .zip of one.

    Raises:
        PackageError: if it is not there, damaged, changed, of a wrong version, or could do harm.
    """
    path = Path(path)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
    if is_folder:
        info, sha256 = verify_folder(path)
        return ModelPackage(info, path, path, sha256)
    if not is_file:
        raise PackageError(f"model package {path.name} is not there")
    unpacked = tempfile.TemporaryDirectory(prefix="pesemiseg-")
    folder = Path(unpacked.name) / path.stem
    folder.mkdir()
    extract(path, folder)
    info, sha256 = verify_folder(folder)
    return ModelPackage(info, path, folder, sha256, unpacked)


def unreadable(path: Path, error: OSError) -> PackageError:
    """The error for a path that the system will not look at: no permission, a name too long."""
    return PackageError(f"model package {path.name} cannot be read: {error.strerror or error}")


def write_package(
    folder: str | Path,
    info: PackageInfo,
    segmenter: Segmenter,
    discriminator: Discriminator | None = None,
    *,
    overwrite: bool = False,
) -> ModelPackage:
    """Write the networks as a package folder: aside, verified, then moved into place. Needs torch and onnx.

    Args:
        folder: the package folder to make; its parent is made where missing.
        info: its settings; `files` is filled in here.
        segmenter, discriminator: networks built from `info`'s settings; they are not changed. A kind whose
            package has no discriminator gets None.
        overwrite: replace an existing package.

    Raises:
        OutputError: if the folder exists and `overwrite` is off, or cannot be written.
        PackageError: if the settings do not fit the networks, or weights are NaN or infinite.
    """
    from PESemiSegLib.models.export import export_networks

    folder = Path(folder)
    wanted = info.discriminator_config if info.what.judged else None
    judge = None if discriminator is None else discriminator.config
    if segmenter.config != info.network_config or judge != wanted:
        raise PackageError(f"model package {info.name}: its settings are not those of the networks given")
    with staged_folder(folder, overwrite=overwrite) as stage:
        export_networks(segmenter, discriminator, stage)
        _write_words(info, stage)
    return read_package(folder)


def amend_package(
    package: ModelPackage, folder: str | Path, *, overwrite: bool = False, **changes: Any
) -> ModelPackage:
    """Write the same networks with other words or another operating point; needs no torch.

    Args:
        package: stays as it is. folder: the new package.
        changes: fields of PackageInfo, such as threshold, min_lesion_mm3, metrics and training.

    Raises:
        OutputError: if the folder exists and `overwrite` is off, or cannot be written.
        PackageError: if a change does not fit.
    """
    info = replace(package.info, **changes)
    with staged_folder(Path(folder), overwrite=overwrite) as stage:
        for name in package.info.package_files:
            shutil.copyfile(package.file(name), stage / name)
        _write_words(info, stage)
    return read_package(folder)


def _write_words(info: PackageInfo, stage: Path) -> None:
    """The card, then model.json with the hashes of all that lies there by now."""
    (stage / "README.md").write_text(render_card(info), encoding="utf-8", newline="\n")
    complete = replace(info, files={name: sha256_of(stage / name) for name in info.package_files})
    (stage / INFO_NAME).write_text(complete.to_json(), encoding="utf-8", newline="\n")
    verify_folder(stage)
