"""The requests about datasets. An upload is read from disk as it is sent, so its size costs no memory."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from client.answers import Event
from client.connection import Connection, FilePart
from client.dataset_answers import DATASET_END_STATES, Dataset, DatasetState
from client.events import EventStream
from client.resources import listed, wait_until_ended

DATASETS = "/api/v1/datasets"
UPLOAD_ANSWER_SECONDS = 120.0
"""The server checks the end of an upload and stores it before it answers."""

OnProgress = Callable[[int, int], None]
"""Told bytes sent and bytes in all; after a broken connection the count starts again."""


class DatasetRequests:
    """The part of a Client that is about datasets."""

    _connection: Connection
    _pause: Callable[[float], None]

    def add_dataset(
        self,
        name: str,
        files: Sequence[Path],
        *,
        on_corrupt: Literal["reject", "skip"] | None = None,
        labels: Literal["fine", "coarse"] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """Uploads an archive, an npz or TFRecord shards, straight from disk. The import goes on after the answer.

        `labels` chooses those of a CIFAR-100 archive; `on_progress` hears of bytes sent and bytes in all. Sending the
        same files under the same name again gives the same dataset. Raises OSError for files that cannot be read.
        """
        if not files:
            raise ValueError("name at least one file to upload")
        fields = {"name": name, "on_corrupt": on_corrupt, "labels": labels}
        with ExitStack() as opened:
            answer = self._connection.json(
                "POST",
                DATASETS,
                form={field: value for field, value in fields.items() if value is not None},
                files=file_parts(files, on_progress, opened),
                answer_seconds=UPLOAD_ANSWER_SECONDS,
            )
        return Dataset.parse(answer)

    def add_builtin(self, name: str) -> Dataset:
        """Has a built-in dataset imported, such as cifar100."""
        content = json.dumps({"builtin": name}).encode()
        headers = {"Content-Type": "application/json"}
        return Dataset.parse(self._connection.json("POST", DATASETS, headers=headers, content=content))

    def dataset(self, name: str) -> Dataset:
        return Dataset.parse(self._connection.json("GET", _path(name)))

    def datasets(self, *, state: DatasetState | None = None, limit: int | None = None) -> Iterator[Dataset]:
        """Datasets, newest first, page by page; `limit` None means all."""
        return (Dataset.parse(item) for item in listed(self._connection, DATASETS, {"state": state}, limit))

    def dataset_events(self, name: str, last_event_id: str | None = None) -> Iterator[Event]:
        """How the import goes, until the dataset is READY or REJECTED; resumes as `events` does."""
        stream = EventStream(
            self._connection,
            f"{_path(name)}/events",
            last_event_id,
            ended=lambda: self.dataset(name).ended,
            pause=self._pause,
            final=DATASET_END_STATES,
        )
        return iter(stream)

    def wait_dataset(self, name: str, timeout: float | None = None) -> Dataset:
        """The dataset once it is READY or REJECTED. Raises TimeoutError after `timeout` seconds, if given."""
        return wait_until_ended(self._connection, _path(name), Dataset.parse, f"dataset {name}", timeout)

    def delete_dataset(self, name: str) -> None:
        """Raises ApiError `dataset_in_use` while a job needs it."""
        self._connection.request("DELETE", _path(name))


class _CountedFile(io.FileIO):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(-1 if size is None else size)
        if chunk:
            self._told(self.tell())
        return chunk


def file_parts(files: Sequence[Path], on_progress: OnProgress | None, opened: ExitStack) -> list[FilePart]:
    """The files opened for as long as `opened` is entered."""
    tell = on_progress or _unheard
    sizes = [file.stat().st_size for file in files]
    total = sum(sizes)
    parts: list[FilePart] = []
    for number, file in enumerate(files):
        before = sum(sizes[:number])

        def told(position: int, before: int = before) -> None:
            tell(before + position, total)

        stream = opened.enter_context(_CountedFile(file, told))
        parts.append(("file", (_sendable(file.name), stream, "application/octet-stream")))
    return parts


def _sendable(name: str) -> str:
    """A file's name for people, whatever bytes the file system holds."""
    return os.fsencode(name).decode(errors="replace")


def _path(name: str) -> str:
    return f"{DATASETS}/{quote(name, safe='')}"


def _unheard(sent: int, total: int) -> None:
    pass
