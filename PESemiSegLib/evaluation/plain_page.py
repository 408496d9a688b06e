"""The page of evaluations whose figures are plain tables: label maps, and scans with and without embolism."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.by_image import ImageMean
from PESemiSegLib.evaluation.drawing import Picture
from PESemiSegLib.evaluation.frame import Frame, facts_of, picture_files
from PESemiSegLib.evaluation.verdict import Verdict, p_in_words
from PESemiSegLib.evaluation.wording import written

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.folds import Model

_DECIMALS = 3
_CALLED = {"iou": "IoU", "pe": "PE"}


@dataclass(frozen=True)
class Section:
    """One table of the page; columns are those of its first row."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""


class _Table:
    """A section as text: headings, whether a column holds words, and cells."""

    def __init__(self, section: Section) -> None:
        names = list(section.rows[0])
        self.title, self.caption = section.title, section.caption
        self.rows = [[_cell(name, row[name]) for name in names] for row in section.rows]
        worded = [any(cell[:1].isalpha() for cell in column) for column in zip(*self.rows, strict=True)]
        self.columns = list(zip(map(_heading, names), worded, strict=True))


@dataclass(frozen=True)
class PlainPage:
    """What the page shows. headline: of each model figures with the words beneath; verdicts: by title."""

    models: Mapping[str, Model]
    scans: int
    sites: Sequence[str]
    headline: Mapping[str, Sequence[tuple[Any, str]]]
    sections: Sequence[Section]
    pictures: Sequence[Picture]
    conventions: Sequence[str]
    warning: str = ""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def files(self) -> dict[str, str | bytes]:
        """The pictures and, at last, the page, by name."""
        return {**picture_files(self.pictures), tables.PAGE: self.render()}

    def render(self) -> str:
        """The page, without outside references."""
        frame = Frame(
            facts={
                name: facts_of(package) | dict(self.facts.get(name, {}))
                for name, package in self.models.items()
            },
            scans=self.scans,
            sites=self.sites,
            headline={
                name: [(written(value), words) for value, words in entries]
                for name, entries in self.headline.items()
            },
            pictures=self.pictures,
            conventions=self.conventions,
            warning=self.warning,
        )
        sections = [_Table(section) for section in self.sections if section.rows]
        return frame.render("plain.html", verdicts=self.verdicts, sections=sections)


def _heading(name: str) -> str:
    if name == "p":
        return name
    name = _CALLED.get(name, name).replace("_", " ")
    return name[:1].upper() + name[1:]


def _cell(name: str, value: Any) -> str:
    if name == "p" and isinstance(value, float):
        return p_in_words(value).removeprefix("p ").removeprefix("= ")
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    decimals = 1 if name.endswith("_ml") else _DECIMALS
    return str(value) if isinstance(value, ImageMean) else written(value, decimals=decimals)
