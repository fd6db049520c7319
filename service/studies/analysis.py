"""A study's analysis, from its rows to what tables, pictures and reports are made from."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import Fault
from core.jobspec import JobSpec
from core.repositories.datasets import find_dataset
from core.repositories.submissions import dataset_lookup
from core.studyspec import StudySpec
from core.tables import AttemptRow, EvaluationRow, JobRow, StudyRow, StudyRunRow
from core.views import chosen_labels, split_counts, view_name
from service.studies.answers import Effects, Results, Winners
from service.studies.confusion import Confusion, sum_confusions
from service.studies.curves import load_curves, shown_rows
from service.studies.effects import effects_of
from service.studies.figures import StudyFigures, VariantFigures
from service.studies.pictures.material import Material
from service.studies.reading import load_figures
from service.studies.report import DataView, EnvironmentUse, JobRecord, ReportInput
from service.studies.results import results_of
from service.studies.winners import winners_of


@dataclass(frozen=True)
class Table:
    """What the results say."""

    results: Results
    winners: Winners


def etag_of(session: Session, study: StudyRow) -> str:
    """Changes whenever a figure of the study may have."""
    sums = session.execute(
        select(func.count(), func.sum(JobRow.revision))
        .select_from(StudyRunRow)
        .join(JobRow, JobRow.id == StudyRunRow.job_id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
    ).one()
    return f'"{study.revision}.{sums[0]}.{sums[1] or 0}"'


def read_table(session: Session, study: StudyRow) -> Table:
    figures = load_figures(session, study)
    return Table(results_of(figures), winners_of(figures))


def read_effects(session: Session, study: StudyRow) -> Effects:
    return effects_of(load_figures(session, study))


def read_material(session: Session, study: StudyRow) -> Material:
    """What all pictures of a study are drawn from."""
    figures = load_figures(session, study)
    results = results_of(figures)
    curves = load_curves(session, study.tenant_id, study.id, shown_rows(results))
    return Material(figures, results, effects_of(figures), curves, _confusion(session, study, figures, results))


def read_report(session: Session, study: StudyRow) -> ReportInput:
    material = read_material(session, study)
    return ReportInput(
        id=study.id,
        name=study.name,
        question=StudySpec.model_validate(study.spec).question,
        state=study.state,
        detail=study.detail,
        spec=study.spec,
        created_at=study.created_at,
        started_at=study.started_at,
        finished_at=study.finished_at,
        written_at=datetime.now(UTC),
        material=material,
        winners=winners_of(material.figures),
        data=tuple(_data(session, study, material.figures.variants)),
        environments=tuple(_environments(session, study)),
        jobs=_jobs(session, study),
        warnings=tuple(study.warnings),
    )


def _confusion(session: Session, study: StudyRow, figures: StudyFigures, results: Results) -> Confusion | None:
    """Of the best variant, summed over its seeds."""
    if not results.rows:
        return None
    best = results.rows[0]
    evaluations = session.scalars(
        select(EvaluationRow.data)
        .where(EvaluationRow.tenant_id == study.tenant_id, EvaluationRow.job_id.in_(best.jobs))
        .order_by(EvaluationRow.job_id)
    ).all()
    return sum_confusions(best.name, evaluations)


def _data(session: Session, study: StudyRow, variants: Sequence[VariantFigures]) -> list[DataView]:
    """What the variants saw, those that saw the same together."""
    lookup = dataset_lookup(session, study.tenant_id)
    seen: dict[str, DataView] = {}
    numbers: dict[str, list[int]] = defaultdict(list)
    for variant in variants:
        dataset = JobSpec.model_validate(variant.spec).dataset
        key = orjson.dumps(dataset.model_dump(mode="json", exclude={"image_size", "color"})).decode()
        numbers[key].append(variant.number)
        info = lookup(dataset.name)
        if key in seen or isinstance(info, Fault):
            continue
        labels = chosen_labels(dataset, info, [])
        counts = split_counts(dataset, info, labels, [])
        row = find_dataset(session, study.tenant_id, dataset.name)
        seen[key] = DataView(
            view=dataset.view or view_name(dataset),
            dataset=dataset.name,
            digest=(row.digest if row is not None else None) or "not imported yet",
            labels=labels,
            images={"train": counts.train, "validation": counts.validation, "test": counts.test},
            variants=(),
        )
    return [
        DataView(one.view, one.dataset, one.digest, one.labels, one.images, tuple(numbers[key]))
        for key, one in seen.items()
    ]


def _environments(session: Session, study: StudyRow) -> list[EnvironmentUse]:
    """Each that jobs were trained in last, most used first."""
    found = session.scalars(
        select(AttemptRow.environment)
        .join(JobRow, (JobRow.id == AttemptRow.job_id) & (JobRow.attempt == AttemptRow.number))
        .join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
    )
    alike: Counter[str] = Counter()
    kept: dict[str, dict[str, Any]] = {}
    for environment in found:
        if environment is None:
            continue
        key = hashlib.sha256(orjson.dumps(environment, option=orjson.OPT_SORT_KEYS)).hexdigest()
        alike[key] += 1
        kept[key] = environment
    return [EnvironmentUse(kept[key], runs) for key, runs in alike.most_common()]


def _jobs(session: Session, study: StudyRow) -> dict[str, JobRecord]:
    found = session.execute(
        select(JobRow.id, JobRow.spec_hash, JobRow.detail)
        .join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
        .where(StudyRunRow.tenant_id == study.tenant_id, StudyRunRow.study_id == study.id)
    )
    return {job: JobRecord(spec_hash, detail) for job, spec_hash, detail in found}
