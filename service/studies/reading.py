"""One study as its watchers read it, and the figures of its runs as its analysis takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, case, false, func, select
from sqlalchemy.orm import Session

from core.objective import Direction, Objective, objective_of
from core.repositories.epochs import mean_speed
from core.repositories.events import study_events_after
from core.repositories.studies import get_study, list_variants
from core.states import RunState, StudyState
from core.studyspec import StudySpec
from core.tables import EpochRow, JobRow, StudyRow, StudyRunRow
from service.context import Context
from service.jobs.reached import reached
from service.studies.figures import RunFigures, StudyFigures, VariantFigures
from service.studies.schemas import StudyView, view_study
from service.watching import EVENTS_A_READ, Moment

NEAR_THE_BEST = 0.05
"""Without a target of the study's, epochs are counted until a run is this near the best of all."""


def read_study(context: Context, tenant: str, study_id: str) -> StudyView:
    """Raises StudyNotFound."""
    with context.database.snapshot() as session:
        return view_study(get_study(session, tenant, study_id))


def read_moment(context: Context, tenant: str, study_id: str, after: int) -> Moment:
    """What a stream of the study's events tells next. Raises StudyNotFound."""
    with context.database.snapshot() as session:
        row = get_study(session, tenant, study_id)
        events = study_events_after(session, tenant, study_id, after, EVENTS_A_READ)
        progress = view_study(row).progress.model_dump()
        return Moment(progress, StudyState(row.state).terminal, events)


def load_figures(session: Session, study: StudyRow) -> StudyFigures:
    """Of every variant but donors. Epochs are summed up by the database: three queries, whatever their number."""
    objective = objective_of(study.objective)
    runs = _runs(session, study)
    target = StudySpec.model_validate(study.spec).target or _near_the_best(runs, objective)
    paces = _paces(session, study, objective, target)
    by_variant: dict[int, list[RunFigures]] = defaultdict(list)
    for row in runs:
        by_variant[row.variant].append(_figures(row, paces.get(row.job_id or "")))
    variants = [
        VariantFigures(
            number=row.number,
            name=row.name,
            architecture=row.architecture,
            spec=row.spec,
            levels=row.levels,
            runs=tuple(by_variant[row.number]),
        )
        for row in list_variants(session, study)
        if not row.donor and row.detail is None
    ]
    return StudyFigures(study.id, study.name, objective, target, tuple(variants))


def _runs(session: Session, study: StudyRow) -> Sequence[Row[Any]]:
    return session.execute(
        select(
            StudyRunRow.variant,
            StudyRunRow.seed,
            StudyRunRow.job_id,
            StudyRunRow.reused,
            StudyRunRow.detail.label("skipped"),
            JobRow.state,
            JobRow.reason,
            JobRow.best_epoch,
            JobRow.evaluation,
            JobRow.warnings,
        )
        .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
        .order_by(StudyRunRow.variant, StudyRunRow.turn)
    ).all()


def _near_the_best(runs: Sequence[Row[Any]], objective: Objective) -> float | None:
    """Within 5 % of the best run's metric; None before there is one."""
    values = [row.best_epoch[objective.metric] for row in runs if row.best_epoch]
    known = [value for value in values if value is not None]
    if not known:
        return None
    if objective.direction is Direction.MAX:
        return float(max(known)) * (1 - NEAR_THE_BEST)
    return float(min(known)) * (1 + NEAR_THE_BEST)


def _paces(session: Session, study: StudyRow, objective: Objective, target: float | None) -> Mapping[str, Row[Any]]:
    """Of each job: epochs, seconds, images a second over all, and the first epoch that reached the target."""
    metric = getattr(EpochRow, objective.metric)
    reached: ColumnElement[bool] = false()
    if target is not None:
        reached = metric >= target if objective.direction is Direction.MAX else metric <= target
    found = session.execute(
        select(
            EpochRow.job_id,
            func.count().label("epochs"),
            func.sum(EpochRow.seconds).label("seconds"),
            mean_speed().label("images_per_second"),
            func.min(case((reached, EpochRow.epoch))).label("to_target"),
        )
        .join(StudyRunRow, StudyRunRow.job_id == EpochRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
        .group_by(EpochRow.job_id)
    )
    return {row.job_id: row for row in found}


def _figures(run: Row[Any], pace: Row[Any] | None) -> RunFigures:
    return RunFigures(
        seed=run.seed,
        job=run.job_id,
        state=run.state or (RunState.SKIPPED if run.skipped else RunState.WAITING),
        reason=run.reason,
        reused=run.reused,
        epochs=pace.epochs if pace else 0,
        **reached(run.best_epoch, run.evaluation),
        seconds=pace.seconds if pace else None,
        images_per_second=pace.images_per_second if pace else None,
        epochs_to_target=pace.to_target if pace else None,
        warnings=tuple(run.warnings or ()),
    )
