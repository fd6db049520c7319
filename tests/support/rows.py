"""Jobs in a database, as tests need them: submitted, claimed, finished, with as little text as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from core.database import Database, database_now
from core.dataset_content import DatasetContent, ImageSizes, Split, StoredFile, StoredSplit
from core.datasets import BUILTIN_DATASETS
from core.objective import Direction, Objective
from core.repositories.attempts import Attempt
from core.repositories.claims import Claim, Holder, claim_next
from core.repositories.datasets import need_dataset
from core.repositories.epochs import EpochMetrics
from core.repositories.events import events_after
from core.repositories.jobs import create_job
from core.repositories.results import Publication, StoredArtifact, finish_job
from core.states import DatasetState
from core.tables import LOCAL_TENANT, DatasetRow, EventRow, JobRow
from core.validation import check_spec

HOLDER = Holder("host/1", "boot-1", 1, 1.0)
ACCURACY = Objective("val_accuracy", Direction.MAX)
EVALUATION = {
    "test_loss": 0.2,
    "test_accuracy": 0.9,
    "images": 3,
    "labels": ["0", "1"],
    "per_class": [
        {"label": "0", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2},
        {"label": "1", "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1},
    ],
    "confusion_matrix": [[1, 1], [0, 1]],
}


def submit(database: Database, *, tenant: str = LOCAL_TENANT, **spec: Any) -> str:
    """Creates a queued job of LeNet on digits, which are ready. Returns its id."""
    checked = check_spec({"dataset": "digits", "architecture": "lenet", **spec})
    with database.transaction() as session:
        dataset = need_dataset(session, tenant, checked.spec.dataset.name, "request-1")
        if dataset.state == DatasetState.IMPORTING:
            make_ready(dataset)
        return create_job(session, tenant, checked, dataset, "request-1").id


def make_ready(dataset: DatasetRow) -> None:
    """As an import would, without files."""
    info = BUILTIN_DATASETS[dataset.name]
    file = StoredFile(name="none", bytes=0, sha256="0" * 64)
    splits: dict[Split, StoredSplit] = {
        "train": StoredSplit(images=sum(info.train_counts), class_counts=info.train_counts, index=file, shards=())
    }
    if info.test_counts is not None:
        splits["test"] = StoredSplit(images=sum(info.test_counts), class_counts=info.test_counts, index=file, shards=())
    size = info.size or (32, 32)
    content = DatasetContent(
        labels=info.labels,
        splits=splits,
        sizes=ImageSizes(smallest=size, largest=size, distinct=1),
        channels=info.channels,
        mean=(0.0,),
        std=(1.0,),
        contact_sheet=file,
    )
    dataset.state = DatasetState.READY
    dataset.content = content.model_dump(mode="json")
    dataset.digest = "0" * 64
    dataset.path = f"datasets/{dataset.id}-1"


def claim(database: Database, holder: Holder = HOLDER) -> Claim | None:
    with database.transaction() as session:
        return claim_next(session, holder)


def start(database: Database, **spec: Any) -> Attempt:
    """A job that runs. It must be the only queued one, or the most urgent."""
    job_id = submit(database, **spec)
    claimed = claim(database)
    assert claimed is not None
    assert claimed.attempt.job_id == job_id
    return claimed.attempt


def read(database: Database, job_id: str) -> JobRow:
    """The job's row as it is now, whatever its tenant."""
    with database.snapshot() as session:
        return session.scalars(select(JobRow).where(JobRow.id == job_id)).one()


def write(database: Database, job_id: str, **values: Any) -> None:
    """Changes columns behind the repositories' back: the passing of time, mostly."""
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


def expire_lease(database: Database, job_id: str) -> None:
    write(database, job_id, lease_expires_at=database_now() - 1.0)


def events(database: Database, job_id: str, kind: str | None = None, *, tenant: str = LOCAL_TENANT) -> list[EventRow]:
    with database.snapshot() as session:
        rows: Sequence[EventRow] = events_after(session, tenant, job_id, 0, 100_000)
        return [row for row in rows if kind in (None, row.kind)]


def epoch(number: int, *, val_accuracy: float | None = 0.5) -> EpochMetrics:
    return EpochMetrics(number, 1.0, 0.4, 1.1, val_accuracy, 0.001, 2.0, 500.0)


def publication(*, objective: Objective = ACCURACY, view: str = "digits", **metrics: float | None) -> Publication:
    return Publication(
        view=view,
        architecture="lenet",
        artifact=StoredArtifact("onnx", "local/job/1/model.onnx", "0" * 64, 1000),
        weights=StoredArtifact("weights", "local/job/1/weights", "0" * 64, 1000),
        dataset_digest="sha256:0",
        labels=["0", "1"],
        input_shape={"height": 32, "width": 32, "channels": 1},
        metrics={"val_accuracy": 0.5, "val_loss": 1.0, **metrics},
        objective=objective,
        parity={"max_difference": 1e-6},
    )


def finish(database: Database, attempt: Attempt, published: Publication | None = None) -> int:
    """Ends the attempt as a success. Returns the version that it published."""
    with database.transaction() as session:
        version = finish_job(session, attempt, EVALUATION, published or publication())
    assert version is not None
    return version
