"""Submitting and extending studies: every job spec in them is checked first, and the rows are committed before the answer."""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core.errors import Fault, InvalidStudySpec
from core.failpoints import failpoint
from core.repositories.datasets import find_dataset
from core.repositories.donors import donor_lookup
from core.repositories.idempotency import find_answer, remember_answer
from core.repositories.jobs import measured_speed
from core.repositories.studies import NewStudy, create_study
from core.repositories.submissions import dataset_lookup
from core.repositories.views import view_conflict
from core.states import DatasetState
from core.study_space import Point
from core.validation import CheckedSpec
from core.views import view_name
from service.context import Context, JsonBody
from service.jobs.estimates import estimate
from service.jobs.submission import Submission
from service.studies.checking import CheckedStudy, check_study
from service.studies.schemas import ObjectiveView, StudyValidationView, VariantSummary, view_study

log = structlog.get_logger("kerasd.api")

BUNDLED = ("digits",)
"""Datasets that need no import from elsewhere."""


def submit_study(context: Context, tenant: str, body: JsonBody, key: str | None, request_id: str) -> Submission:
    """Creates the study, or replays the answer to the same Idempotency-Key. Raises InvalidStudySpec, IdempotencyKeyReused."""
    digest = hashlib.sha256(body.raw).hexdigest()
    if key:
        with context.database.transaction() as session:
            earlier = find_answer(session, tenant, key, digest)
        if earlier is not None:
            return Submission(earlier["id"], earlier, replayed=True)
    checked = check(context, tenant, body.value)  # a thousand job specs: outside of any transaction that writes
    with context.database.transaction() as session:
        earlier = find_answer(session, tenant, key, digest) if key else None
        if earlier is not None:
            return Submission(earlier["id"], earlier, replayed=True)
        row = create_study(session, tenant, new_study(checked), request_id)
        answer = view_study(row).model_dump(mode="json")
        if key:
            remember_answer(session, tenant, key, digest, answer, study_id=row.id)
        failpoint("study.before_commit")
    failpoint("study.after_commit")
    wake_workers(context, row.id)
    return Submission(row.id, answer, replayed=False)


def wake_workers(context: Context, study_id: str) -> None:
    """Tells a worker that a study has work to be started."""
    if not context.wakeups.send(study_id):
        log.warning("the broker took no wake-up; a worker will find the study by itself", study=study_id)


def validate_study(context: Context, tenant: str, body: JsonBody) -> StudyValidationView:
    """The whole check of a submit, creating nothing. Raises InvalidStudySpec."""
    checked = check(context, tenant, body.value)
    seeds = checked.spec.all_seeds
    with context.database.snapshot() as session:
        variants = [_summary(context, session, tenant, *pair) for pair in checked.points]
    count = checked.spec.search.trials or len(checked.points)
    # Of a search only corners are known: it is taken to try points like them.
    scale = len(seeds) * count / len(variants)
    return StudyValidationView(
        spec=checked.spec.model_dump(mode="json"),
        objective=ObjectiveView(**_objective(checked)),
        dataset=checked.first.spec.dataset.name,
        stand_in=checked.stand_in,
        seeds=seeds,
        runs=len(seeds) * count,
        epochs=round(scale * sum(variant.epochs for variant in variants)),
        seconds=round(scale * sum(variant.epochs * variant.epoch_seconds for variant in variants), 1),
        variants=variants,
        warnings=checked.warnings,
    )


def check(context: Context, tenant: str, body: Any, *, stand_in: bool | None = None) -> CheckedStudy:
    """`stand_in`: whether the budget's dataset is used; None: where the base's has not been imported. Raises InvalidStudySpec."""
    with context.database.snapshot() as session:

        def is_here(name: str) -> bool:
            if stand_in is not None:
                return not stand_in
            row = find_dataset(session, tenant, name)
            return name in BUNDLED or (row is not None and row.state == DatasetState.READY)

        checked = check_study(body, dataset_lookup(session, tenant), donor_lookup(session, tenant), is_here)
        faults = _faults_of_views(session, tenant, [entry for _, entry in checked.points])
    if faults:
        raise InvalidStudySpec(faults)
    return checked


def _faults_of_views(session: Session, tenant: str, checked: list[CheckedSpec]) -> list[Fault]:
    """Names of views that mean something else already."""
    named = {(entry.spec.dataset.view, view_name(entry.spec.dataset)) for entry in checked if entry.spec.dataset.view}
    found = [(name, view_conflict(session, tenant, name, identity)) for name, identity in named if name]
    faults = [Fault("/base/dataset/view", trouble, "view_name_taken") for _, trouble in found if trouble]
    if len({name for name, _ in named}) < len(named):
        faults.append(Fault("/base/dataset/view", "would name several views of this study; leave it out"))
    return faults


def new_study(checked: CheckedStudy) -> NewStudy:
    """What the database is given of it."""
    return NewStudy(
        name=checked.spec.name,
        spec=checked.spec.model_dump(mode="json"),
        objective=_objective(checked),
        dataset=checked.first.spec.dataset.name,
        stand_in=checked.stand_in,
        seeds=checked.spec.all_seeds,
        variants=checked.variants,
        warnings=checked.warnings,
    )


def _objective(checked: CheckedStudy) -> dict[str, Any]:
    objective: dict[str, Any] = checked.first.document["objective"]
    return objective


def _summary(context: Context, session: Session, tenant: str, point: Point, checked: CheckedSpec) -> VariantSummary:
    cost = estimate(checked, measured_speed(session, tenant, checked), context.settings.cache_pixel_bytes)
    return VariantSummary(
        name=point.name,
        architecture=checked.spec.architecture.name,
        sets=point.settings,
        parameters=checked.network_in(0).parameters,
        epochs=checked.spec.epochs,
        epoch_seconds=cost.epoch_seconds,
    )
