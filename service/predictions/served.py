"""What is served at one moment, arranged for looking up by what a request names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ArtifactCorrupt, ArtifactStoreFailed, DatasetRequired
from core.objective import Direction, Objective, objective_of
from core.repositories.models import ServableVersion
from service.predictions.predictor import Predictor

BEST = "best"
"""In place of an architecture: the best of all that the view has."""

COMMON_OBJECTIVE = Objective("val_accuracy", Direction.MAX)
"""decides between versions that were trained for different objectives"""


@dataclass(frozen=True)
class Listed:
    """A best version that nobody has asked for yet, or that had to make room."""

    servable: ServableVersion

    @property
    def name(self) -> str:
        return self.servable.row.name

    @property
    def view(self) -> str:
        return self.servable.row.view

    @property
    def architecture(self) -> str:
        return self.servable.row.architecture

    @property
    def objective(self) -> Objective:
        return objective_of(self.servable.row.objective)

    @property
    def metrics(self) -> dict[str, Any]:
        return self.servable.row.metrics


@dataclass(frozen=True)
class Unloadable(Listed):
    """A best version that cannot be loaded and has no predecessor to stand in."""

    error: ArtifactCorrupt | ArtifactStoreFailed


Model = Predictor | Listed


class Served:
    """Immutable: what changes makes a new one."""

    def __init__(self, models: Iterable[Model] = (), listed: Iterable[Listed] = ()) -> None:
        """`listed`: the best versions as the database has them, whatever is served in their place."""
        self.models = {model.name: model for model in models}
        self._listed = {model.name: model for model in listed}
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

    def listing(self, best: Sequence[ServableVersion]) -> Self:
        """With these best versions: what is served already stays, until it is replaced."""
        listed = [Listed(servable) for servable in best]
        return type(self)([self._still(model) for model in listed], listed)

    def replacing(self, model: Predictor | Unloadable) -> Self:
        """With that served under its name, if there is still a model of that name."""
        if model.name not in self.models:
            return self
        return type(self)({**self.models, model.name: model}.values(), self._listed.values())

    def without(self, predictor: Predictor) -> Self:
        """With a version that had to make room only listed."""
        if self.models.get(predictor.name) is not predictor:
            return self
        return type(self)({**self.models, predictor.name: self._listed[predictor.name]}.values(), self._listed.values())

    def find(self, architecture: str, view: str | None) -> Predictor | Listed | None:
        """None when there is no such model. Raises DatasetRequired, ArtifactCorrupt, ArtifactStoreFailed."""
        model = self._unnamed.get(architecture) if view is None else self._found.get((architecture, view))
        if isinstance(model, Unloadable):
            raise model.error.with_traceback(None)  # raised again and again, it would collect all their lines
        if model is None and view is None:
            self.only_view(architecture)
        return model

    def only_view(self, architecture: str) -> str | None:
        """The view that alone has a model of `architecture`; None when none has. Raises DatasetRequired."""
        views = self._views.get(architecture, [])
        if len(views) > 1:
            names = ", ".join(views)
            raise DatasetRequired(
                f"several datasets have a model of {architecture!r}; name one with ?dataset=: {names}"
            )
        return views[0] if views else None

    def _still(self, listed: Listed) -> Model:
        served = self.models.get(listed.name)
        if isinstance(served, Predictor | Unloadable):
            return served
        return listed


def _by_view(models: Iterable[Model]) -> dict[str, list[Model]]:
    views: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        views[model.view].append(model)
    return views


def _best(candidates: Sequence[Model]) -> Model:
    """By the objective that all share, else the common one; the first by name of equally good ones."""
    usable = sorted((model for model in candidates if not isinstance(model, Unloadable)), key=lambda model: model.name)
    if not usable:
        return candidates[0]
    objectives = {model.objective for model in usable}
    objective = objectives.pop() if len(objectives) == 1 else COMMON_OBJECTIVE
    best = usable[0]
    for model in usable[1:]:
        if objective.improves(model.metrics.get(objective.metric), best.metrics.get(objective.metric)):
            best = model
    return best
