"""One import from files to a stored, checked dataset: what an importer process does."""

from __future__ import annotations

import errno
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.artifacts import ArtifactStore, open_store
from core.dataset_content import CONTACT_SHEET, DatasetContent, StoredDataset, StoredFile, StoredSplit
from core.errors import ArtifactCorrupt, ArtifactStoreRefused, InvalidImage
from core.failpoints import failpoint
from core.images import open_image, reduce_image, reduced_image, to_pixels
from core.repositories.attempts import LEASE_SECONDS
from core.repositories.imports import Imported, Rejection, find_twin, finish_import
from core.settings import Settings
from worker.datasets.storage import DatasetWriter
from worker.imports.builtin import BUNDLED, BuiltinMissing, check_counts, open_builtin
from worker.imports.contact_sheet import ContactSheet
from worker.imports.duplicates import Duplicates, exact_duplicates, find_duplicates
from worker.imports.fingerprints import Fingerprints
from worker.imports.formats import open_source
from worker.imports.formats.archives import UNREADABLE
from worker.imports.gate import LEAST_CLASSES, TOO_FEW, Judgement, judge
from worker.imports.progress import ImportProgress
from worker.imports.readback import StoredImages
from worker.imports.room import Room
from worker.imports.source import (
    MOST_ERRORS,
    FileError,
    ImportOptions,
    Item,
    Limits,
    Pixels,
    Rejected,
    Source,
    Split,
    fetched,
)
from worker.imports.statistics import ImageStatistics
from worker.ledger import ImportLedger


class Corrupt:
    """Images that could not be decoded: some by name, all by number."""

    def __init__(self) -> None:
        self.named: list[FileError] = []
        self.total = 0

    def add(self, item: Item, detail: str) -> None:
        self.total += 1
        if len(self.named) < MOST_ERRORS:
            code = "corrupt_image"
            if isinstance(item.content, bytes) and item.content == UNREADABLE:
                code, detail = "corrupt_member", "its bytes in the archive are damaged, or it is empty"
            self.named.append(FileError(item.name, code, detail))


def run_import(assignment: dict[str, Any], ledger: ImportLedger, settings: Settings) -> None:
    """Imports and publishes, or raises: Rejected, FencedOut, and whatever `describe` explains."""
    options = ImportOptions(**assignment["options"])
    store = open_store(settings, LEASE_SECONDS)
    scratch = Path(tempfile.gettempdir())
    uploads = [fetched(store, upload, scratch) for upload in assignment["uploads"]]
    uploaded = sum(upload.path.stat().st_size for upload in uploads)
    progress = ImportProgress(ledger, uploaded)
    progress.begin("checking")
    builtin = assignment["source"].get("builtin")
    limits = Limits.of(settings)
    if builtin is None:
        source = open_source(uploads, options, limits, scratch, progress.checked)
    else:
        source = open_builtin(builtin, settings, limits, scratch, progress.checked)
    with closing(source):
        if len(source.labels) < LEAST_CLASSES:  # known before the first image is read
            raise Rejected([FileError("all files", "too_few_classes", f"{TOO_FEW}; found: {', '.join(source.labels)}")])
        room = Room(store, settings.max_expanded_bytes, uploaded)
        _Import(source, ledger, options, settings, store, progress, room, builtin).run()


def describe(error: Exception) -> Rejection | None:
    """The rejection that an expected failure amounts to; None for what nobody expected."""
    if isinstance(error, Rejected):
        return Rejection(str(error), [asdict(fault) for fault in error.errors], error.total)
    if isinstance(error, BuiltinMissing | ArtifactCorrupt | ArtifactStoreRefused):
        return Rejection(str(error), [], 0)
    if isinstance(error, MemoryError):
        return Rejection("reading the files took more memory than an import may use", [], 0)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Rejection("the disk is full; free space and upload the files again", [], 0)
    if isinstance(error, zipfile.BadZipFile | EOFError):
        return Rejection(f"the file is damaged: {error}", [], 0)
    return None


class _Import:
    """The steps, and what they share."""

    def __init__(
        self,
        source: Source,
        ledger: ImportLedger,
        options: ImportOptions,
        settings: Settings,
        store: ArtifactStore,
        progress: ImportProgress,
        room: Room,
        builtin: str | None,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._attempt = ledger.attempt
        self._room = room
        self._options = options
        self._settings = settings
        self._store = store
        self._progress = progress
        self._builtin = builtin
        self._statistics = ImageStatistics()
        self._fingerprints = Fingerprints()
        self._sheet = ContactSheet(source.labels)
        self._corrupt = Corrupt()
        self._stored_bytes = 0
        self._checked_bytes = 0

    def run(self) -> None:
        self._progress.begin("importing", self._source.files_total)
        writer = DatasetWriter(self._store, self._attempt.folder, self._source.labels, self._source.splits)
        with writer:
            self._read(writer)
            if self._corrupt.total and self._options.on_corrupt == "reject":
                raise Rejected(self._corrupt.named, self._corrupt.total)
            splits = dict(writer.finish())
        if self._builtin is not None:
            check_counts(self._builtin, splits)
        images = sum(split.images for split in splits.values())
        self._progress.begin("comparing", images)
        failpoint("import.before_compare")
        duplicates = self._find_duplicates(splits)
        content = DatasetContent(
            labels=self._source.labels,
            splits=splits,
            sizes=self._statistics.sizes,
            channels=self._statistics.channels,
            mixed_color=self._statistics.mixed_color,
            mean=self._statistics.mean(),
            std=self._statistics.std(),
            reduced_to=self._settings.stored_side,
            contact_sheet=self._store_sheet(),
        )
        judgement = judge(content, duplicates, self._corrupt.total)
        imported = Imported(content, writer.digest(), self._report(judgement, duplicates))
        failpoint("import.before_finish")
        damaged = self._damaged_twin(imported.digest)
        state = self._ledger.write(lambda session, attempt: finish_import(session, attempt, imported, damaged))
        print(f"{state}: {images} images in {len(content.labels)} classes", flush=True)

    def _read(self, writer: DatasetWriter) -> None:
        for done, item in enumerate(self._source.items(), start=1):
            try:
                pixels = self._pixels(item.content)
            except InvalidImage as error:
                self._corrupt.add(item, error.detail)
            else:
                if not (self._corrupt.total and self._options.on_corrupt == "reject"):
                    self._keep(writer, item, pixels)
            self._progress.imported(done, self._stored_bytes)
            failpoint("import.image")

    def _keep(self, writer: DatasetWriter, item: Item, pixels: Pixels) -> None:
        self._stored_bytes += pixels.size
        self._room.check(item.name, self._stored_bytes)
        writer.add(item.split, item.label, pixels)
        self._statistics.add(pixels, training=item.split == "train")
        self._fingerprints.add(item.split, item.label, pixels)
        if self._sheet.wants(item.label):
            self._sheet.add(item.label, pixels)

    def _pixels(self, content: bytes | Pixels) -> Pixels:
        longest = self._settings.stored_side
        if isinstance(content, np.ndarray):
            if max(content.shape[:2]) <= longest:
                return content
            image = reduce_image(Image.fromarray(content[:, :, 0] if content.shape[2] == 1 else content), longest)
        else:
            image = reduced_image(open_image(content, max_pixels=self._settings.max_image_pixels), longest)
        return to_pixels(image, image.height, image.width, 1 if image.mode == "L" else 3)

    def _damaged_twin(self, digest: str) -> str | None:
        """The folder in which the same images lie already, if its files are not sound any more."""
        twin = self._ledger.write(lambda session, attempt: find_twin(session, attempt, digest))
        if twin is None or all(self._is_sound(twin, file) for file in twin.content.files):
            return None
        print(f"the stored copy {twin.path} is damaged; this one takes its place", flush=True)
        return twin.path

    def _is_sound(self, twin: StoredDataset, file: StoredFile) -> bool:
        sound = self._store.matches(f"{twin.path}/{file.name}", file.sha256)
        self._checked_bytes += file.bytes
        self._progress.checked(self._checked_bytes)
        return sound

    def _find_duplicates(self, splits: Mapping[Split, StoredSplit]) -> Duplicates:
        if self._builtin == BUNDLED:
            # They are imported at the first start, when somebody may be waiting; what is alike among them is known.
            found = exact_duplicates(self._fingerprints)
            self._progress.compared(1.0)
            return found
        with StoredImages(self._store, self._attempt.folder, splits) as images:
            return find_duplicates(self._fingerprints, images.read, self._progress.compared)

    def _store_sheet(self) -> StoredFile:
        stored = self._store.put(f"{self._attempt.folder}/{CONTACT_SHEET}", self._sheet.draw())
        return StoredFile(name=CONTACT_SHEET, bytes=stored.bytes, sha256=stored.sha256)

    def _report(self, judgement: Judgement, duplicates: Duplicates) -> dict[str, Any]:
        return {
            "on_corrupt": self._options.on_corrupt,
            "skipped": self._corrupt.total,
            "skipped_files": [asdict(fault) for fault in self._corrupt.named],
            "warnings": judgement,
            "duplicates": duplicates.to_json(),
        }
