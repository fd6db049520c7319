"""The report of a study: whole without a network, and nothing that people wrote is taken for markup."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from study_material import NOTEBOOK, made_up, report_input

from core.objective import Direction, Objective
from service.studies.answers import Results
from service.studies.figures import StudyFigures
from service.studies.pictures.material import Material
from service.studies.report import ReportInput, html_report, markdown_report

HOSTILE = "<script>alert(1)</script>"
LINK = "![x](https://example.org/x.png)"


class Page(HTMLParser):
    """Its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def report() -> ReportInput:
    """Of a study in which people wrote what they should not."""
    material = made_up([(f"{HOSTILE} {LINK}", *NOTEBOOK[0][1:]), *NOTEBOOK[4:6]], name=f"{HOSTILE} | `{LINK}`")
    made = report_input(material, question=f"{HOSTILE}\n\n# {LINK}")
    labels = (f"{HOSTILE}|", *made.data[0].labels[1:])
    return replace(made, data=(replace(made.data[0], labels=labels),), spec={"name": f"```\n{HOSTILE}"})


@pytest.fixture(scope="module")
def page(report: ReportInput) -> Page:
    return Page(html_report(report))


@pytest.fixture(scope="module")
def markdown(report: ReportInput) -> str:
    return markdown_report(report)


class TestPage:
    def test_its_pictures_are_in_it_and_nothing_is_fetched(self, page: Page) -> None:
        sources = [image["src"] or "" for image in page.all("img")]
        assert len(sources) == 8  # effects, bests, grid, curves of two architectures, confusion, rates, time
        for source in sources:
            kind, _, content = source.partition(",")
            assert kind == "data:image/svg+xml;base64"
            assert ET.fromstring(b64decode(content)).tag.endswith("svg")  # noqa: S314 - our own picture
        fetching = {"src", "srcset", "href", "action", "data", "poster"}
        addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in fetching]
        assert all(address and address.startswith(("data:", "#")) for address in addresses)
        assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}

    def test_pictures_say_in_words_what_they_show(self, page: Page) -> None:
        assert all(image["alt"] for image in page.all("img"))

    def test_what_people_wrote_is_shown_letter_for_letter(self, page: Page) -> None:
        for written in (f"{HOSTILE} {LINK}", f"{HOSTILE} | `{LINK}`", f"# {LINK}", f"{HOSTILE}|"):
            assert written in page.words

    def test_it_tells_the_answer_the_data_the_troubles_and_how_to_repeat_it(self, page: Page) -> None:
        for told in (
            "Of alexnet, AlexNet-3 has the highest val_accuracy",
            "2 are distinguishable after Holm's correction",
            "sgd is 8.8 points better than adam",
            "architecture and epochs change together",
            "sha256:abab",
            "aquarium_fish",
            "all images are taken for one class",
            "digits stand in for cifar100",
            "c0ffee",
            "keras 3.15.0",
        ):
            assert told in page.words

    def test_every_row_of_a_table_is_as_long_as_its_heading(self, page: Page) -> None:
        lengths: list[int] = []
        for tag, _ in page.elements:
            if tag == "table":
                lengths = []
            if tag == "tr":
                lengths.append(0)
            if tag in {"th", "td"}:
                lengths[-1] += 1
                assert lengths[-1] <= lengths[0]


class TestMarkdown:
    def test_no_markup_of_people_is_left_in_it(self, markdown: str) -> None:
        prose = re.sub(r"```json\n.*?\n```", "", markdown, flags=re.DOTALL)
        assert not re.search(r"(?<!\\)[<`]", prose)
        assert LINK not in prose
        assert markdown.startswith(r"# \<script\>alert")
        assert sum(line.startswith("# ") for line in markdown.splitlines()) == 1
        assert markdown.count("\n```") == 2, "what stands in the spec does not end its block"

    def test_every_row_of_a_table_has_as_many_cells_as_its_heading(self, markdown: str) -> None:
        tables = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
        assert len(tables) == 8  # results, two factors, data, warnings, endings, environments, jobs
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1

    def test_each_picture_is_in_it_once(self, markdown: str) -> None:
        used = re.findall(r"^!\[.*\]\[(\S+)\]$", markdown, flags=re.MULTILINE)
        there = re.findall(r"^\[(\S+)\]: data:image/svg\+xml;base64,", markdown, flags=re.MULTILINE)
        assert used == there
        assert len(set(used)) == 8


def test_a_study_without_runs_has_a_report_that_says_so() -> None:
    figures = StudyFigures("0", "empty", Objective("val_loss", Direction.MIN), None, ())
    nothing = Material(figures, Results("val_loss", "min", None, ()))
    empty = replace(report_input(made_up(NOTEBOOK[:1])), material=nothing, winners=None, data=(), environments=())
    for text in (html_report(empty), markdown_report(empty)):
        assert "No run has finished yet" in text
        assert "There is nothing to draw yet." in text
