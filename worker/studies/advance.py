"""One look at one study, in one transaction: what has ended is told, what can be started is, and an end is an end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from core.faults import validation_faults
from core.repositories.study_runs import count_runs, resume_paused
from core.repositories.study_steps import any_success, move_study, take_study, tell_ends, unfinished_jobs
from core.settings import Settings
from core.states import StudyState
from core.studyspec import StudySpec
from core.tables import StudyRow
from worker.studies.starting import Started, Starter
from worker.studies.trials import Trials

WINDOW = 32
"""jobs of a study that wait or train at once where it sets no limit: more than workers of one machine take, and few to cancel"""
TRIALS_AT_ONCE = 4
"""open trials of a search that sets no limit: each that is asked for before others have ended knows less"""
OPEN = ("waiting", "queued", "running", "paused")
"""where runs stand that have not ended"""
STARTS_A_LOOK = 8
"""Other writers wait for a look's transaction."""


@dataclass
class Look:
    """What a look has led to."""

    started: list[Started] = field(default_factory=list)
    """to be announced to workers once the look is committed"""
    more: bool = False
    """whether there is room for more runs that wait"""


def advance(session: Session, tenant: str, study_id: str, settings: Settings) -> Look:
    """Nothing happens where the study is over, or somebody else is at it; a paused one tells how its jobs end or pause."""
    study = take_study(session, tenant, study_id)
    if study is None:
        return Look()
    try:
        spec = StudySpec.model_validate(study.spec)
    except ValidationError as error:
        fault = validation_faults(error, study.spec)[0]
        detail = (
            f"this version of the service cannot read the study's spec ({fault.pointer} {fault.detail}); submit it anew"
        )
        move_study(session, study, StudyState.FAILED, detail, "unreadable")
        return Look()
    if study.state == StudyState.PAUSED:
        tell_ends(session, study)
        _keep_progress(session, study)
        return Look()
    look = Look([Started(job, None) for job in resume_paused(session, study)])
    trials = Trials(session, study, spec) if spec.adaptive or spec.pruning else None
    if trials is not None and spec.pruning is not None:
        trials.prune(spec.pruning)
    exhausted = True
    if trials is not None and spec.adaptive:
        exhausted = trials.ask(spec.max_parallel or TRIALS_AT_ONCE)
    window = (spec.max_parallel or WINDOW) - unfinished_jobs(session, study)
    if window > 0:
        look.started += Starter(session, study, spec, settings).start(min(window, STARTS_A_LOOK))
    tell_ends(session, study)
    progress = _keep_progress(session, study)
    look.more = len(look.started) >= STARTS_A_LOOK and progress["waiting"] > 0
    if study.state == StudyState.QUEUED and (look.started or progress["reused"]):
        move_study(session, study, StudyState.RUNNING, None, "first job started")
    if exhausted and not any(progress[state] for state in OPEN):
        _end(session, study, progress, trials)
    return look


def stands_still(session: Session, study: StudyRow) -> bool:
    """Whether a look would find nothing to do: nothing has changed since the last, and there is nothing to start."""
    progress = study.progress
    if study.state == StudyState.PAUSED:
        return count_runs(session, study) == progress
    if study.state == StudyState.QUEUED or progress.get("waiting"):
        return False
    # A search asks for trials when one has ended, or when it was given more after all had.
    return any(progress.get(state) for state in OPEN) and count_runs(session, study) == progress


def _keep_progress(session: Session, study: StudyRow) -> dict[str, Any]:
    progress = count_runs(session, study)
    if progress != study.progress:
        study.progress = progress
        study.revision += 1
        session.flush()
    return progress


def _end(session: Session, study: StudyRow, progress: dict[str, Any], trials: Trials | None) -> None:
    others = [f"{progress[state]} {state}" for state in ("failed", "cancelled", "skipped", "pruned") if progress[state]]
    detail = f"of {progress['runs']} runs: {', '.join(others)}" if others else None
    if trials is not None and trials.trouble:
        detail = "; ".join(part for part in (trials.trouble, detail) if part)
    if any_success(session, study):
        move_study(session, study, StudyState.SUCCEEDED, detail, "ended")
    else:
        none = "no run but donors succeeded" if progress["succeeded"] else "no run succeeded"
        move_study(session, study, StudyState.FAILED, f"{none}; {detail or 'there was none'}", "ended")
