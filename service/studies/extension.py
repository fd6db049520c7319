"""Extending a study: more seeds, values, variants or trials. What it has stays as it is."""

from __future__ import annotations

from typing import Any

from core.errors import Fault, InvalidInput, InvalidTransition
from core.faults import escaped
from core.repositories.studies import extend_study, get_study, list_variants, lock_study
from core.studyspec import Range, StudySpec
from service.context import Context
from service.studies.schemas import ExtendRequest, StudyView, view_study
from service.studies.submission import check, wake_workers


def extend(context: Context, tenant: str, study_id: str, wanted: ExtendRequest) -> StudyView:
    """More seeds, values, variants or trials. Raises StudyNotFound, InvalidTransition, InvalidInput."""
    with context.database.snapshot() as session:
        row = get_study(session, tenant, study_id)
        present = StudySpec.model_validate(row.spec)
    # What stands in was decided when the study was submitted.
    checked = check(context, tenant, _extended(present, wanted), stand_in=row.stand_in)
    with context.database.transaction() as session:
        row = lock_study(session, tenant, study_id)
        if StudySpec.model_validate(row.spec) != present:
            raise InvalidTransition("the study was extended by somebody else meanwhile; look at it and try again")
        there = {(variant.name, str(sorted(variant.levels.items()))) for variant in list_variants(session, row)}
        new = [entry for entry in checked.variants if (entry.name, str(sorted(entry.levels.items()))) not in there]
        extend_study(session, row, checked.spec.model_dump(mode="json"), new, checked.spec.all_seeds)
        view = view_study(row)
    wake_workers(context, study_id)
    return view


def _extended(spec: StudySpec, wanted: ExtendRequest) -> dict[str, Any]:
    """The study spec with the wished-for additions, to be checked as a whole. Raises InvalidInput."""
    document = spec.model_dump(mode="json")
    if wanted.seeds is not None:
        document["seeds"] = _more_seeds(spec, wanted.seeds)
        if spec.budget is not None and spec.budget.seeds is not None:
            document["budget"] = {**document["budget"], "seeds": None}  # the wish is newer than the budget
    if wanted.trials is not None:
        document["search"] = {**document["search"], "trials": wanted.trials}
    if wanted.variants is not None:
        if spec.variants is None:
            raise InvalidInput("the body has a fault", [Fault("/variants", "the study has a space, not a list")])
        document["variants"] += [variant.model_dump(mode="json") for variant in wanted.variants]
    for path, values in (wanted.space or {}).items():
        here, present = f"/space/{escaped(path)}", (spec.space or {}).get(path)
        if spec.adaptive:
            detail = "a search keeps its space, since what it has learned is about that; give it more trials, or submit another study"
            raise InvalidInput("the body has a fault", [Fault(here, detail)])
        if not isinstance(present, list) or isinstance(values, Range):
            raise InvalidInput("the body has a fault", [Fault(here, "the study's space has no list of that field")])
        document["space"][path] = [*present, *(value for value in values if value not in present)]
    return document


def _more_seeds(spec: StudySpec, wanted: int | list[int]) -> list[int]:
    """Those that the study has, first: their runs stay as they are."""
    present = spec.all_seeds
    if isinstance(wanted, list):
        return [*present, *(seed for seed in wanted if seed not in present)]
    if wanted < len(present):
        raise InvalidInput("the body has a fault", [Fault("/seeds", f"the study has {len(present)} already")])
    following = (seed for seed in range(min(present), min(present) + wanted + len(present)) if seed not in present)
    return [*present, *(next(following) for _ in range(wanted - len(present)))]
