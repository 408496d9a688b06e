"""Owns the list of models as the panels see it: read from model.json alone, which takes milliseconds.

A package is verified whole by the job that uses it, and when it is imported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.models.store import DEMO, Store, demo_folder
from PESemiSegLib.models.verify import INFO_NAME
from PESemiSegLib.user_data import data_folder


@dataclass(frozen=True)
class Entry:
    """One model of the list; `problem` where it cannot be used."""

    name: str
    folder: Path
    info: PackageInfo | None
    problem: str = ""

    @property
    def builtIn(self) -> bool:
        """Whether it comes with the program."""
        return self.name == DEMO

    @property
    def identifies(self) -> bool:
        """Whether it reads whole scans, and marks no slices."""
        return self.info is not None and self.info.what is IDENTIFICATION

    @property
    def madeUpOnly(self) -> bool:
        """Whether it has never seen a real patient."""
        return self.info is not None and self.info.is_demo


def store() -> Store:
    """The user's models, in the folder that the worker looks into as well."""
    return Store(data_folder() / "models")


def entries() -> list[Entry]:
    """Every model, the demo model first."""
    return [_entry(name, folder) for name, folder in _places()]


def inStore(package: Path) -> str:
    """The name under which the store holds this very package; empty where it does not."""
    try:
        told = (package / INFO_NAME).read_bytes()  # it names the SHA-256 of every other file
        name = PackageInfo.from_json(told).name
        return name if (data_folder() / "models" / name / INFO_NAME).read_bytes() == told else ""
    except (PackageError, OSError):
        return ""


def mark(entry: Entry) -> str:
    """The sentence that stands under the model's name."""
    if entry.info is None:
        return _("This model cannot be used: {why}").format(why=entry.problem)
    origin = {
        "phantom": _(
            "Made-up patients only: this model has never seen a real scan. For trying out, not for reading."
        ),
        "patients": _("Trained on real patients. Research use only."),
        "mixed": _("Trained on real and made-up patients. Research use only."),
    }
    return origin[entry.info.data_origin]


def card(entry: Entry) -> str:
    """The model card, Markdown; empty where there is none."""
    try:
        return (entry.folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _places() -> Iterator[tuple[str, Path]]:
    demo, root = demo_folder(), data_folder() / "models"
    if demo is not None:
        yield DEMO, demo
    if root.is_dir():
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and folder.name[0].isalnum() and folder.name != DEMO:
                yield folder.name, folder


def _entry(name: str, folder: Path) -> Entry:
    try:
        return Entry(name, folder, PackageInfo.from_json((folder / INFO_NAME).read_bytes()))
    except (PackageError, OSError) as error:
        return Entry(name, folder, None, " ".join(str(error).split()))
