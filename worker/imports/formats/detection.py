"""Which reader an upload is for, told by content."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from worker.imports.formats.archives import HEAD_BYTES, Archive, LooseFiles, Member, UnreadableMember
from worker.imports.formats.cifar import is_cifar, open_cifar
from worker.imports.formats.contents import STREAM_MAGICS, ZIP_MAGICS, is_idx, is_tar, is_tfrecord
from worker.imports.formats.faults import rejection
from worker.imports.formats.folders import open_folders
from worker.imports.formats.idx import open_idx
from worker.imports.formats.keras_npz import is_keras_npz, open_keras_npz
from worker.imports.formats.opening import Opening
from worker.imports.formats.streams import ForwardStream
from worker.imports.formats.tars import open_tar
from worker.imports.formats.tfrecords import open_tfrecords
from worker.imports.formats.zips import open_zip
from worker.imports.source import Source, UploadedFile

ACCEPTED = (
    "a zip or tar archive (.gz, .bz2, .xz too) with one folder of PNG, JPEG or WebP images per class; an npz with "
    "x_train and y_train; TFRecord files; the original CIFAR-10 or CIFAR-100 archive; or MNIST's four IDX files"
)


def detect(opening: Opening) -> Source:
    """Opens the upload with the reader that its content asks for. Raises Rejected."""
    if not opening.files:
        raise rejection("", "unknown_format", f"no file was sent; accepted are {ACCEPTED}")
    heads = [_head(file, opening) for file in opening.files]
    if all(is_idx(head) for _, head in heads):
        return open_idx(opening)
    if all(_looks_like_records(file, head) for file, (_, head) in zip(opening.files, heads, strict=True)):
        return open_tfrecords(LooseFiles(opening.files), opening)
    if len(opening.files) > 1:
        return _refuse_several(opening, [head for _, head in heads])
    return _open_archive(opening.files[0], heads[0], opening)


def _head(file: UploadedFile, opening: Opening) -> tuple[bytes, bytes]:
    """The first bytes, as they are and decompressed. Raises Rejected for a stream that is torn before a header's end."""
    with file.path.open("rb") as plain:
        raw = plain.read(HEAD_BYTES)
    if not raw.startswith(STREAM_MAGICS):
        return raw, raw
    with ForwardStream(file, opening.limits, opening.meter) as stream:
        return raw, stream.read(HEAD_BYTES)


def _looks_like_records(file: UploadedFile, head: bytes) -> bool:
    """The name counts only where nothing else is there: a damaged first record then gets its own message."""
    if is_tfrecord(head):
        return True
    return "tfrecord" in file.name.lower() and not (head.startswith((*ZIP_MAGICS, *STREAM_MAGICS)) or is_tar(head))


def _refuse_several(opening: Opening, heads: list[bytes]) -> Source:
    odd = next(
        (file for file, head in zip(opening.files, heads, strict=True) if not is_tfrecord(head)), opening.files[0]
    )
    detail = f"several files can only be TFRecord shards or MNIST's IDX files; send one file: {ACCEPTED}"
    raise rejection(odd.name, "unknown_format", detail)


def open_archive(file: UploadedFile, opening: Opening) -> Archive:
    """A zip or tar archive, whatever it holds. Raises Rejected."""
    return _as_archive(file, _head(file, opening), opening)


def _open_archive(file: UploadedFile, heads: tuple[bytes, bytes], opening: Opening) -> Source:
    return _read_archive(_as_archive(file, heads, opening), opening)


def _as_archive(file: UploadedFile, heads: tuple[bytes, bytes], opening: Opening) -> Archive:
    raw, head = heads
    if raw.startswith(ZIP_MAGICS):
        return open_zip(file, opening)
    if is_tar(head):
        return open_tar(file, opening)
    raise rejection(file.name, "unknown_format", f"it is none of the accepted formats: {ACCEPTED}")


def _read_archive(archive: Archive, opening: Opening) -> Source:
    """The archive lives as long as the source; without one it is closed here."""
    with ExitStack() as stack:
        stack.enter_context(closing(archive))
        source = _archive_reader(archive)(archive, opening)
        stack.pop_all()
    return source


def _archive_reader(archive: Archive) -> Callable[[Archive, Opening], Source]:
    if is_keras_npz(archive):
        return open_keras_npz
    if is_cifar(archive):
        return open_cifar
    if _holds_records(archive):
        return open_tfrecords
    return open_folders


def _holds_records(archive: Archive) -> bool:
    """By the first member with content that is no text."""
    for member in archive.members:
        head = _readable_head(archive, member)
        if is_tfrecord(head):
            return True
        if head and b"\0" in head:
            return False
    return False


def _readable_head(archive: Archive, member: Member) -> bytes:
    try:
        return archive.head(member)
    except UnreadableMember:
        return b""
