"""The files that rows name in the artifact store, and copying them into another store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.dataset_content import DatasetContent
from core.errors import ArtifactCorrupt
from core.repositories.tasks import result_files
from core.states import UNFINISHED, DatasetState
from core.tables import ArtifactRow, CheckpointRow, DatasetRow, TaskRow


@dataclass(frozen=True)
class NamedFile:
    path: str
    sha256: str
    bytes: int


def named_files(session: Session) -> list[NamedFile]:
    """Every file that some row needs, once."""
    return list({file.path: file for file in _named(session)}.values())


def _named(session: Session) -> Iterator[NamedFile]:
    for kind in (ArtifactRow, CheckpointRow):
        for path, sha256, size in session.execute(select(kind.path, kind.sha256, kind.bytes)):
            yield NamedFile(path, sha256, size)
    for row in session.scalars(select(DatasetRow)):
        if row.state == DatasetState.READY:
            for file in DatasetContent.model_validate(row.content).files:
                yield NamedFile(f"{row.path}/{file.name}", file.sha256, file.bytes)
        elif row.state == DatasetState.IMPORTING:
            for upload in row.uploads:
                yield NamedFile(upload["path"], upload["sha256"], upload["bytes"])
    yield from _of_tasks(session)


def _of_tasks(session: Session) -> Iterator[NamedFile]:
    """What finished tasks made, and what came with those that a worker of the target will do."""
    for row in session.scalars(select(TaskRow)):
        for file in [*result_files(row), *(row.uploads if row.state in UNFINISHED else ())]:
            yield NamedFile(file["path"], file["sha256"], file["bytes"])


def copy_file(file: NamedFile, source: ArtifactStore, target: ArtifactStore) -> bool:
    """Makes the target have the file, and reads it back there. False when it was there already.

    Raises ArtifactCorrupt when the source's is missing or damaged; then nothing is left in the target.
    """
    if target.matches(file.path, file.sha256):
        return False
    with target.writing(file.path) as written:
        for block in source.blocks(file.path):
            written.write(block)
        if written.sha256 != file.sha256:
            raise ArtifactCorrupt(f"artifact {file.path} does not match its recorded sha256")
    if not target.matches(file.path, file.sha256):
        target.delete(file.path)
        raise ArtifactCorrupt(f"artifact {file.path} was not stored as it was sent")
    return True
