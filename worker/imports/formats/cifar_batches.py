"""Batches of CIFAR: pickled tables in the python form, fixed-length records in the binary form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.archives import Archive, Member, UnreadableMember, read_exactly
from worker.imports.formats.faults import rejection
from worker.imports.formats.pickles import MOST_PICKLE_BYTES, load_batch, to_array
from worker.imports.source import Rejected

ROW_BYTES = 3072
_MOST_NAMES_BYTES = 1 << 20
_BLOCK_RECORDS = 256


class PythonBatches:
    """Pickles, loaded whole, one at a time: the form allows nothing else."""

    def __init__(self, archive: Archive, label_key: str, name_key: str) -> None:
        self._archive, self._label_key, self._name_key = archive, label_key, name_key

    def labels(self, member: Member) -> NDArray[np.int64]:
        batch = self._load(member)
        labels = to_array(batch.get(self._label_key), f"{member.name}/{self._label_key}")
        if labels.ndim != 1 or len(labels) != len(self._data(batch, member)):
            raise rejection(member.name, "length_mismatch", "it does not hold one label for each image")
        return labels.astype(np.int64)

    def rows(self, member: Member) -> Iterator[NDArray[np.uint8]]:
        yield from self._data(self._load(member), member)

    def names(self, member: Member) -> list[str]:
        names = self._load(member).get(self._name_key)
        if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
            raise rejection(member.name, "damaged_batch", f"it holds no {self._name_key}")
        return [_decoded(name) if isinstance(name, bytes) else name for name in names]

    def _load(self, member: Member) -> dict[str, Any]:
        return load_batch(_read(self._archive, member, MOST_PICKLE_BYTES), member.name)

    def _data(self, batch: dict[str, Any], member: Member) -> NDArray[np.uint8]:
        rows = to_array(batch.get("data"), f"{member.name}/data")
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != ROW_BYTES:
            raise rejection(member.name, "damaged_batch", f"its data are not rows of {ROW_BYTES} bytes")
        return rows.view(np.uint8)


class BinaryBatches:
    """Records of `labels` bytes, the one at `column` counting, and a row of pixels."""

    def __init__(self, archive: Archive, *, labels: int, column: int) -> None:
        self._archive, self._labels, self._column = archive, labels, column

    def labels(self, member: Member) -> NDArray[np.int64]:
        blocks = [block[:, self._column].astype(np.int64) for block in self._blocks(member)]
        return np.concatenate(blocks) if blocks else np.empty(0, np.int64)

    def rows(self, member: Member) -> Iterator[NDArray[np.uint8]]:
        for block in self._blocks(member):
            yield from block[:, self._labels :]

    def names(self, member: Member) -> list[str]:
        lines = _decoded(_read(self._archive, member, _MOST_NAMES_BYTES)).splitlines()
        return [line.strip() for line in lines if line.strip()]

    def _blocks(self, member: Member) -> Iterator[NDArray[np.uint8]]:
        record = self._labels + ROW_BYTES
        count, rest = divmod(member.size, record)
        if rest:
            raise rejection(member.name, "damaged_batch", f"its {member.size} bytes are not records of {record}")
        try:
            with self._archive.open(member) as reader:
                for start in range(0, count, _BLOCK_RECORDS):
                    records = min(_BLOCK_RECORDS, count - start)
                    content = read_exactly(reader, records * record, member.name)
                    yield np.frombuffer(content, np.uint8).reshape(records, record)
        except UnreadableMember as error:
            raise _corrupt(error) from None


def _read(archive: Archive, member: Member, most: int) -> bytes:
    if member.size > most:
        raise rejection(
            member.name, "member_too_large", f"it has {member.size} bytes, more than any of CIFAR's ({most})"
        )
    try:
        return archive.read(member)
    except UnreadableMember as error:
        raise _corrupt(error) from None


def _corrupt(error: UnreadableMember) -> Rejected:
    return rejection(error.name, "corrupt_member", f"its bytes are damaged: {error.detail}")


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin1")
