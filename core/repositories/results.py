"""What an attempt leaves behind, written under its fence: epochs, the evaluation, the published model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.objective import Objective
from core.repositories.attempts import Attempt, Ending, current_standing, end_attempt, write_job
from core.repositories.best import consider
from core.repositories.checkpoints import Checkpoint, add_checkpoint, forget_checkpoints
from core.repositories.epochs import EpochMetrics
from core.repositories.events import append_event
from core.states import Reason, State
from core.tables import ArtifactRow, EpochRow, EvaluationRow, ModelVersionRow, utc_now


@dataclass(frozen=True)
class StoredArtifact:
    """Bytes already in the artifact store, at `path` relative to its root."""

    kind: str
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Publication:
    """A verified model, ready to become a version."""

    view: str
    architecture: str
    artifact: StoredArtifact
    """what predictions are made with"""
    weights: StoredArtifact
    """what other jobs may start with"""
    dataset_digest: str
    labels: list[str]
    input_shape: dict[str, int | None]
    """height, width, channels of the network's input; reduced_to: longest side of pictures before they are resized"""
    metrics: dict[str, float | None]
    objective: Objective
    parity: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)
    """what was measured at publishing: sizes, latency, statistics of the training images"""


@dataclass(frozen=True)
class Recorded:
    """What the job says when an epoch is stored, and the checkpoint files that are not kept any more."""

    state: State
    obsolete: list[str]


def record_epoch(
    session: Session,
    attempt: Attempt,
    metrics: EpochMetrics,
    progress: dict[str, Any],
    *,
    best: bool,
    checkpoint: Checkpoint | None = None,
) -> Recorded:
    """Inserts one epoch row with its event and checkpoint. Raises FencedOut when another attempt owns the job.

    Again after a commit whose answer was lost, it changes nothing.
    """
    values = asdict(metrics)
    changes: dict[str, Any] = {"progress": progress, "fruitless_attempts": 0}
    if best:
        changes["best_epoch"] = values
    state = write_job(session, attempt, **changes)
    there = session.get(EpochRow, (attempt.job_id, metrics.epoch))
    if there is not None and there.attempt == attempt.number:
        return Recorded(state, [])
    session.add(
        EpochRow(
            job_id=attempt.job_id, tenant_id=attempt.tenant, attempt=attempt.number, created_at=utc_now(), **values
        )
    )
    obsolete = add_checkpoint(session, attempt.tenant, attempt.job_id, checkpoint) if checkpoint else []
    append_event(session, attempt.tenant, attempt.job_id, "epoch", {**values, "attempt": attempt.number})
    return Recorded(state, list(obsolete))


SUCCESS = Ending(State.SUCCEEDED, outcome="succeeded", counts_as_failure=False)
KEPT_BEST = Ending(
    State.CANCELLED, outcome="cancelled, best kept", reason=Reason.USER_CANCELLED, counts_as_failure=False
)


def finish_job(
    session: Session,
    attempt: Attempt,
    evaluation: dict[str, Any],
    publication: Publication,
    ending: Ending = SUCCESS,
) -> int | None:
    """Everything that an end with a model makes visible, in one transaction: evaluation, artifact, version, best, state.

    Returns the new version number; None for a cancelled job whose best was given up meanwhile. Raises FencedOut.
    """
    write_job(session, attempt)
    if ending.state is State.CANCELLED and not current_standing(session, attempt).keep_best:
        end_attempt(session, attempt, ending)
        return None
    name = f"{publication.view}.{publication.architecture}"
    summary = {key: evaluation[key] for key in ("test_loss", "test_accuracy")}
    write_job(session, attempt, evaluation=summary, model_name=name)
    session.add(EvaluationRow(job_id=attempt.job_id, tenant_id=attempt.tenant, data=evaluation, created_at=utc_now()))
    version = _add_version(session, attempt, name, publication)
    write_job(session, attempt, model_version=version)
    consider(session, attempt.tenant, name, version)
    forget_checkpoints(session, attempt.tenant, attempt.job_id)
    end_attempt(session, attempt, ending)
    return version


def _add_version(session: Session, attempt: Attempt, name: str, publication: Publication) -> int:
    _take_turn(session, f"{attempt.tenant}/{name}")
    newest = session.scalar(
        select(func.max(ModelVersionRow.version)).where(
            ModelVersionRow.tenant_id == attempt.tenant, ModelVersionRow.name == name
        )
    )
    artifact = _artifact_row(attempt, publication.artifact)
    session.add_all([artifact, _artifact_row(attempt, publication.weights)])
    session.flush()
    row = ModelVersionRow(
        tenant_id=attempt.tenant,
        name=name,
        view=publication.view,
        architecture=publication.architecture,
        version=(newest or 0) + 1,
        job_id=attempt.job_id,
        artifact_id=artifact.id,
        dataset_digest=publication.dataset_digest,
        labels=publication.labels,
        input_shape=publication.input_shape,
        metrics=publication.metrics,
        objective={"metric": publication.objective.metric, "direction": publication.objective.direction},
        parity=publication.parity,
        card=publication.card,
        created_at=utc_now(),
    )
    session.add(row)
    session.flush()
    return row.version


def _artifact_row(attempt: Attempt, artifact: StoredArtifact) -> ArtifactRow:
    return ArtifactRow(
        tenant_id=attempt.tenant,
        job_id=attempt.job_id,
        attempt=attempt.number,
        created_at=utc_now(),
        **asdict(artifact),
    )


def _take_turn(session: Session, name: str) -> None:
    """Makes jobs that publish the same model at once count their versions one after the other."""
    if session.get_bind().dialect.name == "postgresql":  # on SQLite there is one writer at a time anyway
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
