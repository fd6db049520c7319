"""A batch prediction: one model version over a dataset or an archive, its rows into one file of the store."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from core.failpoints import failpoint
from core.inference import ENGINE_ERRORS, Network, UnfitError, softmax
from core.repositories.models import ServableVersion, get_version
from core.repositories.task_attempts import finish_task
from worker.tasks.assignment import Assignment, TaskFailed, TaskProgress
from worker.tasks.pictures import Picture, Shape, open_pictures
from worker.tasks.result_rows import ResultRow, result_writer

MOST_THREADS = 4
MOST_IN_BATCH = 32
BATCH_BYTES = 8 << 20


def run_batch(assignment: Assignment) -> None:
    """Predicts and records the figures, or raises: TaskFailed, FencedOut, and whatever else ends a task."""
    started, spec, attempt = time.monotonic(), assignment.spec, assignment.attempt
    with assignment.database.snapshot() as session:
        servable = get_version(session, attempt.tenant, spec["model"], spec["version"])
    progress = TaskProgress(assignment.ledger)
    progress.begin("loading")
    classifier = Classifier(assignment, servable)
    path = f"{attempt.folder}/results.{spec['format']}"
    tally = Tally(frozenset(servable.row.labels))
    with open_pictures(assignment, servable, progress) as pictures:
        if not pictures.total:
            raise TaskFailed("there are no images in it")
        progress.begin("predicting", pictures.total)
        with assignment.store.writing(path) as file:
            writer = result_writer(spec["format"], file, min(spec["top"], len(servable.row.labels)))
            for some in _batches(pictures, classifier.batch):
                rows = classifier.classify(some, spec["top"])
                writer.write(rows)
                tally.add(rows)
                progress.advance(tally.images)
                failpoint("batch.rows")
            writer.finish()
    stored = {"path": path, "sha256": file.sha256, "bytes": file.bytes}
    result = {**tally.figures(), "seconds": round(time.monotonic() - started, 3), "files": {"results": stored}}
    failpoint("batch.before_finish")
    assignment.ledger.write(lambda session, attempt: finish_task(session, attempt, result))
    print(f"{tally.images} images, {tally.failed} of them unreadable", flush=True)


class Classifier:
    """A verified model version."""

    def __init__(self, assignment: Assignment, servable: ServableVersion) -> None:
        """Raises ArtifactCorrupt, TaskFailed."""
        self._labels = servable.row.labels
        shape = Shape.of(servable)
        file = Path(tempfile.gettempdir()) / "model.onnx"
        assignment.store.fetch(servable.artifact.path, file, servable.artifact.sha256)
        try:
            # Not on a GPU: CUDA's libraries would take address space, which is limited where uploads are read.
            self._network = Network(file, min(len(os.sched_getaffinity(0)), MOST_THREADS))
        except ENGINE_ERRORS as error:
            raise TaskFailed(f"the model cannot be loaded: {error}") from error
        except UnfitError as error:
            raise TaskFailed(f"the model is not the published network: {error}") from error
        self.batch = max(1, min(MOST_IN_BATCH, BATCH_BYTES // (int(np.prod(shape.sides)) * 4)))

    def classify(self, pictures: list[Picture], top: int) -> list[ResultRow]:
        """A row for each picture, in their order."""
        seen = [picture.content for picture in pictures if not isinstance(picture.content, str)]
        scores = iter(self._scores(np.stack(seen).astype(np.float32), top) if seen else ())
        return [
            ResultRow(picture.name, picture.label, (), picture.content)
            if isinstance(picture.content, str)
            else ResultRow(picture.name, picture.label, next(scores), None)
            for picture in pictures
        ]

    def _scores(
        self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], top: int
    ) -> Iterator[list[tuple[str, float]]]:
        probabilities = softmax(self._network.logits(pixels))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        for places, row in zip(order.tolist(), probabilities.tolist(), strict=True):
            yield [(self._labels[place], row[place]) for place in places]


class Tally:
    """Counts of rows. Accuracy is over the images whose true label the model knows."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self.images = self.failed = self._labelled = self._right = 0

    def add(self, rows: Iterable[ResultRow]) -> None:
        for row in rows:
            self.images += 1
            self.failed += row.error is not None
            if row.error is None and row.label in self._known:
                self._labelled += 1
                self._right += row.predicted == row.label

    def figures(self) -> dict[str, int | float | None]:
        accuracy = self._right / self._labelled if self._labelled else None
        return {"images": self.images, "failed": self.failed, "labelled": self._labelled, "accuracy": accuracy}


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    some: list[Picture] = []
    for picture in pictures:
        some.append(picture)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
