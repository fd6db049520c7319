"""What is served at one moment, arranged for looking up by what a request names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.errors import ArtifactCorrupt, ArtifactStoreFailed, DatasetRequired
from core.objective import Direction, Objective
from service.predictions.predictor import Predictor

BEST = "best"
"""In place of an architecture: the best of all that the view has."""

COMMON_OBJECTIVE = Objective("val_accuracy", Direction.MAX)
"""decides between versions that were trained for different objectives"""


@dataclass(frozen=True)
class Unloadable:
    """A best version that cannot be loaded and has no predecessor to stand in."""

    name: str
    view: str
    architecture: str
    error: ArtifactCorrupt | ArtifactStoreFailed


Model = Predictor | Unloadable


class Served:
    """Immutable."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self.models = {model.name: model for model in models}
        self._found = {(model.architecture, model.view): model for model in self.models.values()}
        for view, candidates in _by_view(self.models.values()).items():
            self._found[BEST, view] = _best(candidates)
        self._views: dict[str, list[str]] = defaultdict(list)
        for architecture, view in sorted(self._found):
            self._views[architecture].append(view)
        self._unnamed = {
            architecture: self._found[architecture, views[0]]
            for architecture, views in self._views.items()
            if len(views) == 1
        }

    def find(self, architecture: str, view: str | None) -> Predictor | None:
        """None when there is no such model. Raises DatasetRequired, ArtifactCorrupt, ArtifactStoreFailed."""
        model = self._unnamed.get(architecture) if view is None else self._found.get((architecture, view))
        if isinstance(model, Predictor):
            return model
        if isinstance(model, Unloadable):
            raise model.error.with_traceback(None)  # raised again and again, it would collect all their lines
        if view is None:
            self.only_view(architecture)
        return None

    def only_view(self, architecture: str) -> str | None:
        """The view that alone has a model of `architecture`; None when none has. Raises DatasetRequired."""
        views = self._views.get(architecture, [])
        if len(views) > 1:
            names = ", ".join(views)
            raise DatasetRequired(
                f"several datasets have a model of {architecture!r}; name one with ?dataset=: {names}"
            )
        return views[0] if views else None


def _by_view(models: Iterable[Model]) -> dict[str, list[Model]]:
    views: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        views[model.view].append(model)
    return views


def _best(candidates: Sequence[Model]) -> Model:
    """By the objective that all share, else the common one; the first by name of equally good ones."""
    usable = sorted((model for model in candidates if isinstance(model, Predictor)), key=lambda model: model.name)
    if not usable:
        return candidates[0]
    objectives = {model.objective for model in usable}
    objective = objectives.pop() if len(objectives) == 1 else COMMON_OBJECTIVE
    best = usable[0]
    for model in usable[1:]:
        if objective.improves(model.metrics.get(objective.metric), best.metrics.get(objective.metric)):
            best = model
    return best
