"""Starting the runs of a study: each gets a job of its own, or one that had finished before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InvalidJobSpec
from core.repositories.donors import donor_lookup
from core.repositories.studies import list_variants
from core.repositories.study_runs import waiting_runs
from core.repositories.study_steps import reusable_job, skip_run, tell_run
from core.repositories.submissions import add_job, dataset_lookup
from core.settings import Settings
from core.states import State
from core.studyspec import StudySpec
from core.tables import JobRow, StudyRow, StudyRunRow, StudyVariantRow
from core.validation import CheckedSpec, check_spec
from worker.published_weights import are_here

LOOK_AHEAD = 200
"""waiting runs looked at beyond those that there is room for: the first may wait for a donor"""


@dataclass(frozen=True)
class Started:
    """A job that wants a worker."""

    job_id: str
    queue: str | None


class Starter:
    """Starts runs of a study that the caller holds, within one transaction."""

    def __init__(self, session: Session, study: StudyRow, spec: StudySpec, settings: Settings) -> None:
        self._session = session
        self._study = study
        self._spec = spec
        self._settings = settings
        self._variants: Mapping[int, StudyVariantRow] = {row.number: row for row in list_variants(session, study)}
        for row in self._variants.values():
            self._decide_weights(row)
        self._lends = {lender for row in self._variants.values() if (lender := _lender_of(row)) is not None}

    def start(self, room: int) -> list[Started]:
        """Gives up to `room` waiting runs a job, in turn; what cannot be started now is passed over, or skipped for good."""
        started: list[Started] = []
        for run in waiting_runs(self._session, self._study, room + LOOK_AHEAD):
            if len(started) >= room:
                break
            job = self._start(run, self._variants[run.variant])
            if job is not None:
                started.append(job)
        return started

    def _start(self, run: StudyRunRow, variant: StudyVariantRow) -> Started | None:
        if variant.donor and variant.number not in self._lends:
            self._skip(run, "not needed: the published weights are on this machine")
            return None
        body = {**variant.body, "seed": run.seed}
        lender = _lender_of(variant)
        if lender is not None:
            donor = self._donor(lender, run.seed)
            if donor is None:
                return None
            if donor.state != State.SUCCEEDED:
                self._skip(run, f"variant {donor.name!r}, which it starts from, {donor.trouble}")
                return None
            body = _with_weights(body, donor.job_id)
        lookup, donors = (
            dataset_lookup(self._session, self._study.tenant_id),
            donor_lookup(self._session, self._study.tenant_id),
        )
        try:
            checked = check_spec(body, lookup, donors)
            return self._give_job(run, checked)
        except InvalidJobSpec as error:
            self._skip(run, f"its job spec is refused by now: {error.faults[0].pointer} {error.faults[0].detail}")
            return None

    def _give_job(self, run: StudyRunRow, checked: CheckedSpec) -> Started | None:
        """Raises InvalidJobSpec."""
        session, study = self._session, self._study
        earlier = reusable_job(session, study, checked) if self._spec.reuse else None
        if earlier is None:
            with session.begin_nested():  # a refusal leaves nothing behind
                job = add_job(session, study.tenant_id, checked, study.request_id, f"started by study {study.id}")
            run.job_id = job.id
        else:
            run.job_id, run.reused = earlier, True
        session.flush()
        if earlier is None:
            tell_run(session, study, run, State.QUEUED)
            return Started(job.id, job.queue)
        run.told = State.SUCCEEDED
        tell_run(session, study, run, State.SUCCEEDED)
        return None

    def _decide_weights(self, variant: StudyVariantRow) -> None:
        """Once and for all seeds, whether its base starts with published weights or with another variant's."""
        wanted = variant.starts_from
        if wanted is None or "lent" in wanted:
            return
        architecture = variant.spec["architecture"]
        lent = wanted["unless"] != "imagenet" or not are_here(architecture["base"], self._settings)
        variant.starts_from = {**wanted, "lent": lent}
        if lent:  # the same for every seed, so that variants compare; each job names its own donor
            weights = {"job": f"variant {self._variants[wanted['variant']].name}", "part": "base"}
            variant.spec = {**variant.spec, "architecture": {**architecture, "weights": weights}}
        self._session.flush()

    def _donor(self, number: int, seed: int) -> _Donor | None:
        """None while it has not ended."""
        found = self._session.execute(
            select(StudyRunRow.detail, JobRow.id, JobRow.state, JobRow.reason)
            .select_from(StudyRunRow)
            .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
            .where(StudyRunRow.study_id == self._study.id, StudyRunRow.variant == number, StudyRunRow.seed == seed)
        ).one_or_none()
        name = self._variants[number].name
        if found is None:
            return _Donor(name, "", None, "has no run with this seed")
        if found.id is None:
            return _Donor(name, "", None, f"was skipped: {found.detail}") if found.detail else None
        if not State(found.state).terminal:
            return None
        return _Donor(name, found.id, found.state, f"ended as {found.state} ({found.reason})")

    def _skip(self, run: StudyRunRow, why: str) -> None:
        skip_run(self._session, self._study, run, why)


@dataclass(frozen=True)
class _Donor:
    name: str
    job_id: str
    state: str | None
    trouble: str


def _lender_of(variant: StudyVariantRow) -> int | None:
    """The variant whose job lends the weights; None where published ones are used, or random ones."""
    wanted = variant.starts_from
    return wanted["variant"] if wanted is not None and wanted.get("lent") else None


def _with_weights(body: dict[str, Any], job_id: str) -> dict[str, Any]:
    architecture = body["architecture"]
    architecture = {"name": architecture} if isinstance(architecture, str) else architecture
    return {**body, "architecture": {**architecture, "weights": {"job": job_id, "part": "base"}}}
