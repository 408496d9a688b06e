"""The user's shelf of model packages: list, import, export, remove, and find one by name or path."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PESemiSegLib.atomic import discard
from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models.archive import pack
from PESemiSegLib.models.download import download, is_address
from PESemiSegLib.models.info import is_name
from PESemiSegLib.models.package import ModelPackage, read_package, unreadable
from PESemiSegLib.models.staging import staged_folder
from PESemiSegLib.models.verify import INFO_NAME
from PESemiSegLib.user_data import data_folder

DEMO = "demo"


@dataclass(frozen=True)
class StoreEntry:
    """One line of the list: a package, or what is wrong with the folder that should hold one."""

    name: str
    path: Path
    package: ModelPackage | None
    problem: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether it comes with the program and cannot be removed."""
        return self.name == DEMO


def demo_folder() -> Path | None:
    """Return where the demo model lies: checkout, Slicer module, or installation; None if nowhere."""
    here = Path(__file__).resolve()
    candidates = [here.parents[level] / "Resources" / "Models" / DEMO for level in (2, 1)]
    candidates.append(Path(sysconfig.get_path("data")) / "share" / "pesemiseg" / "models" / DEMO)
    return next((folder for folder in candidates if (folder / INFO_NAME).is_file()), None)


class Store:
    """Packages under one folder, one sub-folder each. Several processes may use it at the same time.

    Args:
        root: where the packages lie; by default "models" in the user's data folder. It is made when needed.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else data_folder() / "models"

    def list(self) -> tuple[StoreEntry, ...]:
        """Return all packages by name, the demo model first; broken ones with their problem."""
        return tuple(self._entry(name, path) for name, path in self._places())

    def find(self, model: str | Path) -> ModelPackage:
        """Open a package by its name here, by path (folder or .zip), or "demo".

        Raises:
            PackageError: if there is none, or it is not sound.
        """
        if is_name(str(model)):
            for name, path in self._places():
                if name == str(model):
                    return read_package(path)
        try:
            there = Path(model).exists()
        except OSError as error:
            raise unreadable(Path(model), error) from error
        if there:
            return read_package(model)
        known = ", ".join(name for name, _ in self._places()) or "none"
        raise PackageError(
            f"no model {Path(model).name!r}, neither in the store ({known}) nor as a folder or .zip"
        )

    def info(self, name: str) -> StoreEntry:
        """Return one package's entry, sound or not.

        Raises:
            PackageError: if there is none of that name.
        """
        for found, path in self._places():
            if found == name:
                return self._entry(found, path)
        raise PackageError(f"no model {name!r} in the store")

    def import_(
        self, source: str | Path, *, sha256: str | None = None, overwrite: bool = False
    ) -> ModelPackage:
        """Copy a package in, after verifying it. Its name is the one in its model.json.

        Args:
            source: a folder, a .zip, or an https address of a .zip (then `sha256` is required).
            sha256: expected SHA-256 of the .zip.
            overwrite: replace a package of the same name.

        Raises:
            PackageError: if the source is not a sound package, or its SHA-256 differs.
            OutputError: if the name is taken and `overwrite` is off, or the store cannot be written.
        """
        if is_address(source):
            self._make_root()
            with download(str(source), sha256, self.root) as archive:
                return self._take(read_package(archive), overwrite)
        return self._take(read_package(source), overwrite)

    def export(self, name: str, archive: str | Path, *, overwrite: bool = False) -> Path:
        """Write a package as a .zip and return its path.

        Raises:
            PackageError: if there is no sound package of that name.
            OutputError: if the file exists and `overwrite` is off, or cannot be written.
        """
        archive = Path(archive)
        if archive.suffix.lower() != ".zip":
            raise OutputError(f"{archive.name}: the name of an exported model must end in .zip")
        package = self.find(name)  # which keeps an archive's files for as long as it is there
        pack(package.folder, archive, overwrite=overwrite)
        return archive

    def remove(self, name: str) -> None:
        """Delete a package; a broken one too.

        Raises:
            PackageError: if there is none of that name, or it comes with the program.
        """
        if name == DEMO:
            raise PackageError("the demo model comes with the program and cannot be removed")
        if not is_name(name):
            raise PackageError(f"{name!r} cannot be the name of a model")
        try:
            removed = discard(self.root / name)
        except OSError as error:
            raise OutputError(f"model {name} cannot be removed: {error.strerror or error}") from error
        if not removed:
            raise PackageError(f"no model {name!r} in the store")

    def _take(self, package: ModelPackage, overwrite: bool) -> ModelPackage:
        name = package.info.name
        if name == DEMO:
            raise PackageError('the name "demo" belongs to the model that comes with the program')
        self._make_root()
        with staged_folder(self.root / name, overwrite=overwrite) as stage:
            for file in (INFO_NAME, *package.info.package_files):
                shutil.copyfile(package.file(file), stage / file)
        return read_package(self.root / name)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the model store {self.root} cannot be made: {error.strerror or error}"
            ) from error

    def _places(self) -> Iterator[tuple[str, Path]]:
        """Every name and folder, the demo model first; folders set aside by other processes are not seen."""
        if demo := demo_folder():
            yield DEMO, demo
        if self.root.is_dir():
            for path in sorted(self.root.iterdir()):
                if is_name(path.name) and path.is_dir() and path.name != DEMO:
                    yield path.name, path

    @staticmethod
    def _entry(name: str, path: Path) -> StoreEntry:
        try:
            return StoreEntry(name, path, read_package(path))
        except PackageError as error:
            return StoreEntry(name, path, None, str(error))
