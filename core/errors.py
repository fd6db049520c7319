"""Every error that kerasd raises on purpose.

KerasdError
├── InvalidInput            the caller sent something wrong; carries every fault found
│   ├── InvalidJobSpec
│   ├── InvalidStudySpec
│   ├── DatasetRejected     files that cannot become a dataset; a fault for each file
│   ├── InvalidImage        bytes that are not a picture we accept
│   │   └── ImageTooLarge   one that claims more pixels than are allowed
│   └── InvalidQuery        a query parameter or header that cannot be understood
├── NotFound
│   ├── JobNotFound · EvaluationNotFound · ModelNotFound · NoModel · DatasetNotFound · ImageNotFound · TaskNotFound · StudyNotFound
├── Conflict
│   ├── InvalidTransition   a state does not allow the move
│   ├── DatasetRequired     several views have a model of that architecture
│   ├── DatasetExists       the name belongs to other images
│   ├── DatasetInUse        jobs still need it
│   ├── DatasetNotReady     its import has not ended, or was refused
│   ├── NoEarlierVersion    a model has nothing to roll back to
│   ├── ResultsNotReady     the batch prediction has not succeeded, or not yet
│   ├── ExportRefused       the model cannot be had in that format
│   └── IdempotencyKeyInFlight  the first request with that key is not answered yet
├── IdempotencyKeyReused    the same key came with another body
├── ArtifactCorrupt         stored bytes do not match their recorded sha256
├── ArtifactStoreFailed     the artifact store did not do what was asked of it
│   ├── ArtifactStoreAway       it does not answer, or is too busy; trying again may help
│   └── ArtifactStoreRefused    it refuses: credentials, bucket, permissions
├── FencedOut               another attempt owns the job, import or task; the caller must stop
└── TrainingFailure         ends a job with a reason of the closed list

The `code` is stable and part of the HTTP contract; service/problems.py maps classes to statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.states import Reason


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input: where (RFC 6901 JSON pointer, or a parameter's name) and what."""

    pointer: str
    detail: str
    code: str = "invalid"


class KerasdError(Exception):
    code = "internal_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(KerasdError):
    code = "invalid_input"

    def __init__(self, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)


class InvalidJobSpec(InvalidInput):
    """The job spec cannot be trained."""

    code = "invalid_job_spec"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        super().__init__(f"the job spec has {count} fault{'s' if count != 1 else ''}", faults)


class InvalidStudySpec(InvalidInput):
    """The study spec, or a job spec in it, cannot be run. Nothing was started."""

    code = "invalid_study_spec"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        super().__init__(f"the study spec has {count} fault{'s' if count != 1 else ''}", faults)


class DatasetRejected(InvalidInput):
    code = "dataset_rejected"


class InvalidImage(InvalidInput):
    code = "invalid_image"


class ImageTooLarge(InvalidImage):
    """It claims more pixels than are allowed."""


class InvalidQuery(InvalidInput):
    code = "invalid_query"


class NotFound(KerasdError):
    code = "not_found"


class JobNotFound(NotFound):
    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id!r}")


class EvaluationNotFound(NotFound):
    code = "no_evaluation"


class ModelNotFound(NotFound):
    code = "model_not_found"


class NoModel(NotFound):
    code = "no_model"


class DatasetNotFound(NotFound):
    code = "dataset_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no dataset {name!r}")


class ImageNotFound(NotFound):
    code = "image_not_found"


class TaskNotFound(NotFound):
    code = "task_not_found"

    def __init__(self, kind: str, task_id: str) -> None:
        super().__init__(f"there is no {kind.replace('_', ' ')} {task_id!r}")


class StudyNotFound(NotFound):
    code = "study_not_found"

    def __init__(self, study_id: str) -> None:
        super().__init__(f"there is no study {study_id!r}")


class Conflict(KerasdError):
    code = "conflict"


class InvalidTransition(Conflict):
    code = "invalid_transition"


class DatasetRequired(Conflict):
    code = "dataset_required"


class DatasetExists(Conflict):
    code = "dataset_exists"


class DatasetInUse(Conflict):
    code = "dataset_in_use"


class DatasetNotReady(Conflict):
    code = "dataset_not_ready"


class NoEarlierVersion(Conflict):
    code = "no_earlier_version"


class ResultsNotReady(Conflict):
    code = "results_not_ready"


class ExportRefused(Conflict):
    code = "export_refused"


class IdempotencyKeyInFlight(Conflict):
    code = "idempotency_key_in_flight"


class IdempotencyKeyReused(KerasdError):
    code = "idempotency_key_reused"


class ArtifactCorrupt(KerasdError):
    code = "artifact_corrupt"


class ArtifactStoreFailed(KerasdError):
    code = "artifact_store_failed"


class ArtifactStoreAway(ArtifactStoreFailed):
    code = "artifact_store_unavailable"


class ArtifactStoreRefused(ArtifactStoreFailed):
    code = "artifact_store_refused"


class FencedOut(KerasdError):
    code = "fenced_out"

    def __init__(self, owned: str, number: int) -> None:
        super().__init__(f"attempt {number} no longer owns {owned}")


class TrainingFailure(KerasdError):
    """Ends a job as FAILED. `detail` says what happened and what to do."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
