"""What the page of every evaluation shows, whatever was measured: heading, headline, pictures and models."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.drawing import Picture
from PESemiSegLib.evaluation.folds import CrossValidated
from PESemiSegLib.inference.report.environment import environment

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.folds import Model

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Frame:
    """The common parts. facts: what is said of each model, by its name on the page.

    headline: of each model figures as text, with the words beneath.
    """

    facts: Mapping[str, Mapping[str, Any]]
    scans: int
    sites: Sequence[str]
    headline: Mapping[str, Sequence[tuple[str, str]]]
    pictures: Sequence[Picture]
    conventions: Sequence[str]
    warning: str = ""

    def render(self, template: str, **own: Any) -> str:
        """The page by a template that extends `evaluation.html`, without outside references."""
        pictures = [
            (each, "data:image/svg+xml;base64," + base64.b64encode(each.svg).decode())
            for each in self.pictures
        ]
        made_up = all(entry.get("data_origin") == "phantom" for entry in self.facts.values())
        common = vars(self) | {"pictures": pictures, "made_up": made_up, "models": list(self.facts)}
        program = tables.heading()["program"]
        return environment(_TEMPLATES).get_template(template).render(common, program=program, **own)


def facts_of(package: Model) -> dict[str, Any]:
    """What a page says of any model."""
    info = package.info
    facts = {"name": info.name, "marks": info.what.marks, "sha256": package.sha256}
    if isinstance(package, CrossValidated):
        facts["folds"] = f"{len(package.packages)}, each patient by the model that has not seen him"
    return facts | {"data_origin": info.data_origin}


def picture_files(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """The pictures as files beside the page, SVG and PNG, by name."""
    svg = {f"{picture.name}.svg": picture.svg for picture in pictures}
    return svg | {f"{picture.name}.png": picture.png for picture in pictures}
