"""The report: a sound, self-contained page that says what it must."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from PESemiSegLib.inference.report import render
from PESemiSegLib.inference.report.page import PICTURED
from PESemiSegLib.inference.result import CheckLine, InputCheck, Result
from PESemiSegLib.inference.save import summarise
from PESemiSegLib.volumes.segments import LABELS

Maker = Callable[..., Result]
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """All elements of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(result: Result, **options: object) -> Page:
    return Page(render(result, summarise(result, **options)))  # type: ignore[arg-type]


def test_the_page_says_what_it_must(made_up_result: Maker) -> None:
    page = page_of(made_up_result())
    assert page.text.count("Research use only - not a medical device") == 2
    assert "This model was trained on made-up patients only." in page.text
    assert "Slices are thick." in page.text
    assert "ab" * 32 in page.text  # the model's hash
    assert "3 findings" in page.text
    assert "1.22 ml" in page.text
    assert "No emboli" not in page.text


def test_it_needs_nothing_from_outside(made_up_result: Maker) -> None:
    page = page_of(made_up_result())
    references = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("href", "src", "action", "xlink:href")
    ]
    assert references
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in references)
    assert not page.all("script")
    assert not page.all("link")
    assert "url(" not in " ".join(page.words)
    assert "@import" not in " ".join(page.words)


def test_inner_links_lead_somewhere(made_up_result: Maker) -> None:
    page = page_of(made_up_result())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
    assert inner <= set(ids)
    labelled = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labelled <= set(ids)


def test_every_picture_has_words(made_up_result: Maker) -> None:
    page = page_of(made_up_result())
    pictures = page.all("svg")
    assert len(pictures) == 2 + 3 * 6
    assert all(len(picture["aria-label"]) > 20 and picture["role"] == "img" for picture in pictures)
    assert len({picture["aria-label"] for picture in pictures}) == len(pictures)
    assert page.all("html")[0]["lang"] == "en"
    assert all("scope" in cell for cell in page.all("th"))


def test_values_from_files_are_escaped(made_up_result: Maker) -> None:
    nasty = "<script>alert(1)</script>"
    result = made_up_result(marks=1, origin=nasty)
    result.check = InputCheck([CheckLine("warning", "reader", nasty)])
    page = page_of(result, notes=[nasty])
    assert not page.all("script")
    assert page.text.count("alert(1)") == 3


def test_vessels_have_names_and_no_side(made_up_result: Maker) -> None:
    result = made_up_result(marks=2)
    result.segments = LABELS["arteries"]
    result.findings[:] = [
        replace(finding, name=segment.name)
        for finding, segment in zip(result.findings, result.segments, strict=True)
    ]
    page = render(result, summarise(result))
    assert "Finding 1: Aorta" in page
    assert ">Side<" not in page
    assert ">left<" not in page
    assert 'style="background: rgb(224 97 76)"' in page


def test_nothing_found(made_up_result: Maker) -> None:
    page = page_of(made_up_result(marks=0))
    assert "No emboli were found." in page.text
    assert "does not exclude" in page.text
    assert len(page.all("svg")) == 2
    assert len(page.all("table")) == 1  # provenance


def test_one_finding_is_singular(made_up_result: Maker) -> None:
    page = page_of(made_up_result(marks=1))
    assert "1 finding " in page.text
    assert page.text.startswith("Pulmonary embolism segmentation: 1 finding")


def test_pictures_are_limited_and_the_rest_is_said(made_up_result: Maker) -> None:
    page = page_of(made_up_result(marks=PICTURED + 2))
    assert len(page.all("article")) == PICTURED
    rows = re.findall(r"finding-(\d+)", " ".join(a.get("id", "") for a in page.all("article")))
    assert rows == [str(n + 1) for n in range(PICTURED)]
    assert "The 20 largest findings are pictured; the other 2 stand in the table." in page.text


@pytest.mark.parametrize(("origin", "said"), [("patients", False), ("phantom", True)])
def test_the_warning_of_made_up_patients_fits_the_model(
    origin: str, said: bool, made_up_result: Maker
) -> None:
    result = made_up_result(marks=0, model={"name": "m", "data_origin": origin})
    assert ("made-up patients only." in page_of(result).text) == said


def test_a_scan_without_lungs_and_without_provenance(made_up_result: Maker, made_up_volume: Callable) -> None:
    volume = made_up_volume()
    volume.hu[...] = 0
    result = made_up_result(volume, marks=1)
    result.provenance = {}
    assert len(page_of(result).all("svg")) == 2 + 6
