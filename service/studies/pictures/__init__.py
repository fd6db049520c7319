"""The pictures of a study: as SVG and PNG, every variant in its colour, told apart by readers with any colour vision."""

from __future__ import annotations

from collections.abc import Callable

from service.drawing import PictureKind
from service.studies.picture_names import Picture
from service.studies.pictures.confusion import draw_confusion
from service.studies.pictures.effects import draw_effects
from service.studies.pictures.learning_curves import draw_architectures, draw_bests, draw_grid
from service.studies.pictures.material import Material
from service.studies.pictures.rates import draw_learning_rate, draw_time

_DRAWN: dict[Picture, Callable[[Material, PictureKind], bytes]] = {
    Picture.CURVES: draw_architectures,
    Picture.GRID: draw_grid,
    Picture.BESTS: draw_bests,
    Picture.EFFECTS: draw_effects,
    Picture.CONFUSION: draw_confusion,
    Picture.LEARNING_RATE: draw_learning_rate,
    Picture.TIME: draw_time,
}


def draw(picture: Picture, material: Material, kind: PictureKind) -> bytes:
    """The file. A study that has nothing to show for it yet gets a picture that says so."""
    return _DRAWN[picture](material, kind)
