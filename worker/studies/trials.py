"""The trials of a study with a search or with pruning: made of its rows, and written back to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InvalidJobSpec
from core.objective import objective_of
from core.repositories.donors import donor_lookup
from core.repositories.moves import prune_job
from core.repositories.studies import NewVariant, add_variants, list_variants
from core.repositories.study_steps import skip_run
from core.repositories.submissions import dataset_lookup
from core.states import Reason, State
from core.study_space import SettingMisplaced, job_body, point_at
from core.studyspec import Pruning, StudySpec
from core.tables import EpochRow, JobRow, StudyRow, StudyRunRow, StudyVariantRow
from core.validation import check_spec
from worker.studies.optuna_study import Choice, Trial, TrialState
from worker.studies.pruning import judge
from worker.studies.search import next_point

MOST_REFUSED = 100
"""points in a row whose job spec is refused, after which a search gives up"""


class Trials:
    """Of a study that the caller holds, within one transaction."""

    def __init__(self, session: Session, study: StudyRow, spec: StudySpec) -> None:
        self._session = session
        self._study = study
        self._spec = spec
        self._objective = objective_of(study.objective)
        self.trouble: str | None = None
        """why a search has ended before its last trial"""

    def prune(self, pruning: Pruning) -> None:
        """Ends the trials that the pruner would not go on with. Donors are none."""
        variants = [row for row in list_variants(self._session, self._study) if not row.donor and row.detail is None]
        trials = self._trials(variants)
        before = [(trial.memory, trial.judged) for trial in trials]
        most_epochs = max((int(row.spec["epochs"]) for row in variants), default=1)
        verdicts = judge(pruning, self._objective, trials, most_epochs)
        for row, trial, known in zip(variants, trials, before, strict=True):
            if (trial.memory, trial.judged) != known or trial.number in verdicts:
                memory = {"memory": trial.memory, "judged": trial.judged, "pruned": trial.number in verdicts}
                row.search = {**(row.search or {}), **memory}
        for number, why in verdicts.items():
            self._end(number, why)
        self._session.flush()

    def ask(self, at_once: int) -> bool:
        """Adds variants until so many are open. Returns whether the search has had all its trials."""
        refused = 0
        while True:
            variants = list_variants(self._session, self._study)
            trials = self._trials(variants)
            if len(variants) >= (self._spec.search.trials or 0):
                return True
            if sum(trial.state is TrialState.RUNNING for trial in trials) >= at_once:
                return False
            chosen = next_point(self._spec, self._objective, trials)
            if chosen is None:
                self.trouble = f"every point of the space has been tried, in {len(variants)} trials"
                return True
            refused = refused + 1 if not self._add(chosen) else 0
            if refused >= MOST_REFUSED:
                self.trouble = f"the last {refused} points that the search proposed cannot be trained"
                return True

    def _add(self, chosen: Mapping[str, Choice]) -> bool:
        """The trial's variant; one whose job spec is refused stays without runs, and says why."""
        session, study, spec = self._session, self._study, self._spec
        point = point_at(spec, chosen)
        search = {"chosen": {path: list(choice) for path, choice in chosen.items()}}
        refusal, document, body = None, {}, {}
        try:
            body = job_body(spec, point, spec.all_seeds[0], stand_in=study.stand_in)
            checked = check_spec(body, dataset_lookup(session, study.tenant_id), donor_lookup(session, study.tenant_id))
            document = checked.document
        except InvalidJobSpec as error:
            refusal = f"{error.faults[0].pointer} {error.faults[0].detail}"
        except SettingMisplaced as error:
            refusal = f"{error.pointer} {error.detail}"
        new = NewVariant(
            name=point.name,
            architecture=document["architecture"]["name"] if document else "",
            body={key: value for key, value in body.items() if key != "seed"},
            spec=document,
            levels=point.settings,
            search=search,
        )
        (number,) = add_variants(session, study, [new], [] if refusal else spec.all_seeds)
        if refusal:
            session.get_one(StudyVariantRow, (study.id, number)).detail = refusal
            session.flush()
        return refusal is None

    def _end(self, number: int, why: str) -> None:
        runs = self._session.execute(
            select(StudyRunRow, JobRow.state)
            .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
            .where(StudyRunRow.study_id == self._study.id, StudyRunRow.variant == number)
        ).all()
        for run, state in runs:
            if run.job_id is None and run.detail is None:
                skip_run(self._session, self._study, run, f"another seed of its variant was {why}")
            elif run.job_id is not None and not run.reused and not State(state).terminal:
                prune_job(self._session, self._study.tenant_id, run.job_id, why)

    def _trials(self, variants: Any) -> list[Trial]:
        runs = self._runs()
        values = self._values(runs) if self._spec.pruning else {}
        return [self._trial(row, runs.get(row.number, []), values.get(row.number, {})) for row in variants]

    def _trial(self, row: StudyVariantRow, runs: list[Any], values: Mapping[int, float]) -> Trial:
        memory = row.search or {}
        results = [
            run.best_epoch[self._objective.metric] for run in runs if run.state == State.SUCCEEDED and run.best_epoch
        ]
        known = [result for result in results if result is not None]
        if row.detail is not None:
            state = TrialState.FAIL
        elif memory.get("pruned") or any(run.reason == Reason.PRUNED for run in runs):
            state = TrialState.PRUNED
        elif any(
            (run.state is None and run.detail is None) or (run.state and not State(run.state).terminal) for run in runs
        ):
            state = TrialState.RUNNING
        else:
            state = TrialState.COMPLETE if known else TrialState.FAIL
        return Trial(
            number=row.number,
            state=state,
            chosen={path: (index, value) for path, (index, value) in memory.get("chosen", {}).items()},
            values=values,
            result=sum(known) / len(known) if known else None,
            memory=dict(memory.get("memory", {})),
            judged=memory.get("judged", 0),
        )

    def _runs(self) -> dict[int, list[Any]]:
        """Of each variant."""
        found: dict[int, list[Any]] = defaultdict(list)
        rows = self._session.execute(
            select(
                StudyRunRow.variant,
                StudyRunRow.job_id,
                StudyRunRow.detail,
                JobRow.state,
                JobRow.reason,
                JobRow.best_epoch,
            )
            .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
            .where(StudyRunRow.study_id == self._study.id)
        )
        for row in rows:
            found[row.variant].append(row)
        return found

    def _values(self, runs: Mapping[int, list[Any]]) -> dict[int, dict[int, float]]:
        """Of each variant the best value up to each epoch, mean over the seeds that have begun, of epochs that all these have."""
        metric = getattr(EpochRow, self._objective.metric)
        begun = {
            run.job_id: variant
            for variant, entries in runs.items()
            for run in entries
            if run.state not in (None, State.FAILED, State.CANCELLED) or run.reason == Reason.PRUNED
        }
        rows = self._session.execute(
            select(StudyRunRow.variant, EpochRow.job_id, EpochRow.epoch, metric)
            .join(StudyRunRow, StudyRunRow.job_id == EpochRow.job_id)
            .where(StudyRunRow.study_id == self._study.id)
            .order_by(EpochRow.job_id, EpochRow.epoch)
        )
        by_job: dict[str, dict[int, float]] = defaultdict(dict)
        best: dict[str, float | None] = {}
        for _, job, epoch, value in rows:
            if job in begun:
                if self._objective.improves(value, best.get(job)):
                    best[job] = value
                if best.get(job) is not None:
                    by_job[job][epoch] = float(best[job] or 0.0)
        jobs: dict[int, list[str]] = defaultdict(list)
        for job, variant in begun.items():
            jobs[variant].append(job)
        return {
            variant: {
                epoch: sum(by_job[job][epoch] for job in own) / len(own)
                for epoch in set.intersection(*(set(by_job[job]) for job in own))
            }
            for variant, own in jobs.items()
        }
