"""The pictures of a report, with what they show in words."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from service.studies.picture_names import Picture
from service.studies.pictures import draw
from service.studies.pictures.effects import lines_of
from service.studies.pictures.material import Material


@dataclass(frozen=True)
class Illustration:
    """One picture."""

    key: str
    """a word that no other picture of the report has"""
    title: str
    caption: str
    picture: Picture
    material: Material

    @cached_property
    def address(self) -> Markup:
        """The picture itself: as an image of its own, its parts have no names in common with those of others."""
        svg = draw(self.picture, self.material, "svg")
        return Markup("data:image/svg+xml;base64,") + b64encode(svg).decode()


def illustrations_of(material: Material) -> Iterator[Illustration]:
    """Those that there is something to show in."""
    bests = len(material.bests)
    metric = material.metric
    if material.effects and any(lines_of(material.effects)):
        words = "Each line is one comparison, with its 95 % interval; the dark line is no difference."
        yield Illustration("effects", "What each factor did", words, Picture.EFFECTS, material)
    if not any(one.points for one in material.curves):
        return
    if bests:
        words = f"{metric.capitalize()} by epoch. {_LINES}"
        yield Illustration("bests", "The best run of each architecture", words, Picture.BESTS, material)
    if bests > 1:
        words = f"{metric.capitalize()} by epoch, all on one scale. {_LINES}"
        yield Illustration("grid", "The best runs one by one", words, Picture.GRID, material)
    yield from _curves(material)
    if material.confusion:
        words = "Rows: what test images are; columns: what they were taken for, in per cent of the row."
        yield Illustration("confusion", "Taken for another", words, Picture.CONFUSION, material)
    words = "By the learning rate where the study tries several, else the rate in each epoch."
    yield Illustration("rates", "Learning rates", words, Picture.LEARNING_RATE, material)
    words = f"{material.results.metric} by the seconds that training and validation had taken, in the mean over seeds."
    yield Illustration(
        "time", "Time to accuracy" if metric == "accuracy" else "Time to loss", words, Picture.TIME, material
    )


_LINES = "Solid: training; dashed: validation; bands: least to largest over the seeds."


def _curves(material: Material) -> Iterator[Illustration]:
    for place, architecture in enumerate(material.architectures, 1):
        only = material.only(architecture)
        if any(one.points for one in only.curves):
            yield Illustration(
                f"curves-{place}",
                f"Learning curves: {architecture}",
                f"Accuracy and loss by epoch. {_LINES}",
                Picture.CURVES,
                only,
            )
