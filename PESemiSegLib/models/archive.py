"""Packs a package into a .zip, and unpacks one from a stranger: no surprise paths, links or sizes."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from PESemiSegLib.atomic import is_system_litter, whole_file
from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.staging import taken
from PESemiSegLib.models.verify import INFO_NAME, MAX_FILE_BYTES

MAX_ENTRIES = 64
MAX_TOTAL_BYTES = 2 * MAX_FILE_BYTES
MAX_RATIO = 200
_UNREADABLE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
    *(NotImplementedError, EOFError, ValueError),
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same package gives the same archive, byte for byte


def extract(archive: Path, folder: Path) -> None:
    """Unpack the package in `archive` (its files at the top, or in one folder) into the empty `folder`.

    Raises:
        PackageError: if the archive is damaged, or an entry is not a plain file of sane name and size.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for entry, name in _checked_entries(source).items():
                # zipfile never gives more than the declared size, and checks the CRC at the end.
                with source.open(entry) as reader, (folder / name).open("xb") as writer:
                    shutil.copyfileobj(reader, writer)
    except PackageError as error:
        raise PackageError(f"model package {archive.name}: {error}") from error
    except _UNREADABLE as error:
        raise PackageError(
            f"model package {archive.name} is not a readable .zip, or it is cut off"
        ) from error
    except OSError as error:
        raise PackageError(f"model package {archive.name} cannot be unpacked: {error.strerror}") from error


def _checked_entries(source: zipfile.ZipFile) -> dict[zipfile.ZipInfo, str]:
    """Return the files to unpack with their plain names."""
    entries = source.infolist()
    if len(entries) > MAX_ENTRIES:
        raise PackageError(f"{len(entries)} entries are too many: refused")
    names: dict[zipfile.ZipInfo, str] = {}
    total = 0
    for entry in entries:
        if _is_litter(entry):
            continue
        _check_entry(entry)
        if not entry.is_dir():
            names[entry] = PurePosixPath(entry.filename).name
            total += entry.file_size
    if total > MAX_TOTAL_BYTES:
        raise PackageError(f"{total} bytes unpacked are too many: refused")
    if len(set(names.values())) != len(names):
        raise PackageError("two entries have the same name: refused")
    if len({PurePosixPath(entry.filename).parent for entry in names}) > 1:
        raise PackageError("its files lie in several folders: refused")
    return names


def _is_litter(entry: zipfile.ZipInfo) -> bool:
    """Whether Finder or Explorer put the entry beside the files; it is never unpacked, wherever it leads."""
    parts = entry.orig_filename.split("/")
    return parts[0] == "__MACOSX" or is_system_litter(parts[-1])


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # zipfile turns the system's separator into "/" and cuts at NUL; orig_filename is what the archive says.
    name = entry.orig_filename
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in parts or len(parts) > 2:
        raise PackageError(f"the entry {name!r} has a path that leads elsewhere: refused")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise PackageError(f"the entry {name!r} is a link or special file: refused")
    if entry.flag_bits & 1:
        raise PackageError(f"the entry {name!r} is encrypted: refused")
    if entry.file_size > MAX_FILE_BYTES or entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise PackageError(f"the entry {name!r} unpacks to {entry.file_size} bytes: refused")


def pack(folder: Path, archive: Path, *, overwrite: bool = False) -> None:
    """Write a verified package folder as a .zip: aside first, then moved into place.

    Raises:
        OutputError: if `archive` exists and `overwrite` is off, or cannot be written.
    """
    if os.path.exists(archive) and not overwrite:
        raise taken(archive)
    files = PackageInfo.from_json((folder / INFO_NAME).read_bytes()).package_files
    try:
        with whole_file(archive) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as target:
            for name in (INFO_NAME, *files):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                target.writestr(entry, (folder / name).read_bytes())
    except OSError as error:
        raise OutputError(f"{archive.name} cannot be written: {error.strerror or error}") from error
