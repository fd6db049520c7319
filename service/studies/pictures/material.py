"""What the pictures of a study are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.studies.answers import Effects, ResultRow, Results
from service.studies.confusion import Confusion
from service.studies.curves import VariantCurves
from service.studies.figures import StudyFigures


@dataclass(frozen=True)
class Material:
    """A study's figures with what was computed from them; each picture takes what it needs."""

    figures: StudyFigures
    results: Results
    effects: Effects | None = None
    curves: tuple[VariantCurves, ...] = ()
    """of the variants that are shown"""
    confusion: Confusion | None = None

    @property
    def metric(self) -> str:
        """The objective's, without the `val_`: accuracy or loss."""
        return self.results.metric.removeprefix("val_")

    @property
    def architectures(self) -> tuple[str, ...]:
        """In the order of their first variants."""
        return tuple(dict.fromkeys(variant.architecture for variant in self.figures.variants))

    @property
    def bests(self) -> list[ResultRow]:
        """Each architecture's best variant; none of one where no run has finished."""
        ranked = [row for row in self.results.rows if row.rank is not None]
        firsts = (next((row for row in ranked if row.architecture == one), None) for one in self.architectures)
        return [row for row in firsts if row is not None]

    def only(self, architecture: str) -> Material:
        """The same with the variants of one architecture."""
        variants = tuple(one for one in self.figures.variants if one.architecture == architecture)
        rows = tuple(row for row in self.results.rows if row.architecture == architecture)
        curves = tuple(one for one in self.curves if one.architecture == architecture)
        return replace(
            self,
            figures=replace(self.figures, variants=variants),
            results=replace(self.results, rows=rows),
            curves=curves,
        )
