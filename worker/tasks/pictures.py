"""What a batch prediction looks at, one image at a time: a stored dataset's, or those of an uploaded archive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.dataset_content import SPLITS, Split, StoredDataset
from core.errors import InvalidImage
from core.images import Pixels, is_picture, open_image, picture_pixels, resize_pixels
from core.jobspec import JobSpec
from core.repositories.datasets import find_dataset, stored_dataset
from core.repositories.jobs import get_job
from core.repositories.models import ServableVersion
from core.states import DatasetState
from worker.datasets.parts import Parts
from worker.datasets.reader import SplitReader, local_folder
from worker.imports.formats.archives import Archive, Member, UnreadableMember
from worker.imports.formats.detection import open_archive
from worker.imports.formats.folders import is_text
from worker.imports.formats.opening import Meter, Opening
from worker.imports.source import ImportOptions, Limits, Rejected, fetched
from worker.tasks.assignment import Assignment, TaskFailed, TaskProgress

MOST_IMAGE_BYTES = 256 << 20
"""of one encoded picture, which is read whole"""


@dataclass(frozen=True)
class Shape:
    """How a model wants its pictures, as core.images takes it."""

    height: int
    width: int
    channels: int
    reduced_to: int | None

    @classmethod
    def of(cls, servable: ServableVersion) -> Shape:
        shape = servable.row.input_shape
        return cls(int(shape["height"]), int(shape["width"]), int(shape["channels"]), shape.get("reduced_to"))

    @property
    def sides(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    def of_encoded(self, content: bytes, max_pixels: int) -> Pixels:
        """Raises InvalidImage."""
        return picture_pixels(open_image(content, max_pixels=max_pixels), *self.sides, self.reduced_to)

    def of_pixels(self, pixels: Pixels) -> Pixels:
        return resize_pixels(pixels, *self.sides, self.reduced_to)


@dataclass(frozen=True)
class Picture:
    """`content` is what the network sees, or why it cannot; `label` is the true one where that is known."""

    name: str
    label: str | None
    content: Pixels | str


class Pictures(Protocol):
    """An opened source."""

    total: int

    def __iter__(self) -> Iterator[Picture]: ...


@contextmanager
def open_pictures(assignment: Assignment, servable: ServableVersion, progress: TaskProgress) -> Iterator[Pictures]:
    """Raises TaskFailed when the source cannot be used, and TrainingFailure when a stored dataset is damaged."""
    shape = Shape.of(servable)
    if assignment.spec["dataset"] is not None:
        yield StoredPictures(assignment, servable, shape)
        return
    progress.begin("checking", sum(upload["bytes"] for upload in assignment.uploads))
    settings, scratch = assignment.settings, Path(tempfile.gettempdir())
    (upload,) = (fetched(assignment.store, each, scratch) for each in assignment.uploads)
    opening = Opening([upload], ImportOptions(), Limits.of(settings), scratch, Meter(progress.advance))
    try:
        archive = open_archive(upload, opening)
    except Rejected as rejected:
        raise TaskFailed(f"the archive cannot be read: {rejected}") from None
    with closing(archive):
        yield ArchivePictures(archive, shape, settings.max_image_pixels)


class ArchivePictures:
    """Every file of an archive but texts; what is no picture, or a damaged one, has its error in place of pixels."""

    def __init__(self, archive: Archive, shape: Shape, max_pixels: int) -> None:
        self._archive = archive
        self._shape = shape
        self._max_pixels = max_pixels
        self._members = [member for member in archive.members if not is_text(member.name)]
        self.total = len(self._members)

    def __iter__(self) -> Iterator[Picture]:
        for member in self._members:
            try:
                content: Pixels | str = self._shape.of_encoded(self._read(member), self._max_pixels)
            except InvalidImage as error:
                content = error.detail
            yield Picture(member.name, None, content)

    def _read(self, member: Member) -> bytes:
        """Raises InvalidImage."""
        if member.size > MOST_IMAGE_BYTES:
            raise InvalidImage(f"the file has {member.size} bytes; the limit of an image is {MOST_IMAGE_BYTES}")
        try:
            if not is_picture(self._archive.head(member)):
                raise InvalidImage("the bytes are not a PNG, JPEG or WebP image")
            return self._archive.read(member)
        except UnreadableMember as error:
            raise InvalidImage(f"its bytes in the archive are damaged: {error.detail}") from None


class StoredPictures:
    """The images of a stored dataset, in its order, with their labels."""

    def __init__(self, assignment: Assignment, servable: ServableVersion, shape: Shape) -> None:
        """Raises TaskFailed when the dataset is gone, TrainingFailure when it is damaged."""
        self._assignment = assignment
        self._shape = shape
        self._dataset = _dataset(assignment)
        self._parts = list(self._chosen(assignment.spec["dataset"]["split"], servable))
        self.total = sum(len(members) for _, members in self._parts)

    def __iter__(self) -> Iterator[Picture]:
        dataset, settings = self._dataset, self._assignment.settings
        for split, members in self._parts:
            folder = local_folder(dataset, split, self._assignment.store, settings.cache)
            with SplitReader(folder, dataset.content.splits[split]) as reader:
                labels = reader.labels
                for member in members:
                    label = dataset.content.labels[labels[member]]
                    yield Picture(f"{split}/{member}", label, self._shape.of_pixels(reader.image(member)))

    def _chosen(self, wanted: Split | None, servable: ServableVersion) -> Iterator[tuple[Split, Any]]:
        """Stored splits, and which of their images are meant."""
        stored = self._dataset.content.splits
        if wanted is None or wanted in stored:
            for split in SPLITS:
                if split in stored and wanted in (None, split):
                    yield split, range(stored[split].images)
            return
        # The set brings no such split of its own: what the model's job held out of it is meant.
        with self._assignment.database.snapshot() as session:
            job = get_job(session, servable.row.tenant_id, servable.row.job_id)
        spec = JobSpec.model_validate(job.spec).dataset
        part = Parts(self._dataset, spec, self._assignment.store, self._assignment.settings).find(wanted)
        yield part.split, part.members.tolist()


def _dataset(assignment: Assignment) -> StoredDataset:
    wanted = assignment.spec["dataset"]
    with assignment.database.snapshot() as session:
        row = find_dataset(session, assignment.attempt.tenant, wanted["name"])
    if row is None or row.state != DatasetState.READY or row.digest != wanted["digest"]:
        raise TaskFailed(f"dataset {wanted['name']!r} was deleted after the batch prediction was asked for")
    return stored_dataset(row)
