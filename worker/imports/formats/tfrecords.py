"""TFRecord shards of tf.train.Example records: one file, several, or an archive of them.

| feature | or | holds |
| --- | --- | --- |
| image/encoded | image | bytes: one PNG, JPEG or WebP image |
| image/class/label | label | int64: the class, 0 to n-1 without gaps in the training split |
| image/class/text | class | bytes, may be absent: the class's name in UTF-8, the same for all of one class |

A shard's split is told by its file name, then by its folder: a word train, validation (val, valid) or test; train
otherwise. Without names a class is called by its number. Order: split, shard by name, record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.imports.formats.archives import Archive, Member, UnreadableMember
from worker.imports.formats.contents import is_tfrecord
from worker.imports.formats.examples import Example, parse_example
from worker.imports.formats.faults import Faults, check_count, check_labels, rejection, shown
from worker.imports.formats.framing import read_records
from worker.imports.formats.opening import Opening
from worker.imports.formats.paths import base_name
from worker.imports.source import SPLITS, Item, Limits, Split

_SPLIT_WORD = re.compile(r"(?:^|[^a-z])(train|validation|valid|val|test)(?:ing)?(?![a-z])")
_TEXT_FILES = (".txt", ".json", ".md", ".csv", ".pbtxt")


@dataclass
class _Census:
    """What the first pass learns: how many images a split has of a class, and what classes are called."""

    limits: Limits
    counts: dict[Split, dict[int, int]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    total: int = 0

    def add(self, example: Example, split: Split, place: str) -> None:
        if not 0 <= example.label < self.limits.classes:
            detail = f"its label is {example.label}; labels go from 0 to at most {self.limits.classes - 1}"
            raise rejection(place, "bad_labels", detail)
        if example.text is not None and self.texts.setdefault(example.label, example.text) != example.text:
            known, other = shown(self.texts[example.label]), shown(example.text)
            raise rejection(place, "label_conflict", f"class {example.label} is called {known!r} and here {other!r}")
        counts = self.counts.setdefault(split, {})
        counts[example.label] = counts.get(example.label, 0) + 1
        self.total += 1
        if self.total > self.limits.entries:
            check_count(self.total, place, self.limits)

    def labels(self, place: str) -> tuple[str, ...]:
        """Raises Rejected when a class below the highest has no training image."""
        train = self.counts.get("train", {})
        if self.counts and not train:
            raise rejection(place, "no_train_split", "no shard belongs to the training split")
        classes = 1 + max((max(counts) for counts in self.counts.values()), default=-1)
        faults = Faults()
        for label in sorted(set(range(classes)) - set(train)):
            detail = f"class {label} has no training image; labels go from 0 to n-1 without gaps"
            faults.add(place, "empty_class", detail)
        faults.check()
        return check_labels([self.texts.get(label, str(label)) for label in range(classes)], place, self.limits)


@dataclass(frozen=True)
class TFRecords:
    """Opened shards; records are read again for `items`."""

    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    files_total: int
    archive: Archive
    shards: Mapping[Split, Sequence[Member]]

    def items(self) -> Iterator[Item]:
        for split, place, record in _records(self.archive, self.shards):
            example = parse_example(record, place)
            yield Item(split, example.label, place, example.image)

    def close(self) -> None:
        self.archive.close()


def open_tfrecords(archive: Archive, opening: Opening) -> TFRecords:
    """Reads every record once, for labels and checksums. Raises Rejected."""
    shards = _shards(archive)
    census = _Census(opening.limits)
    for split, place, record in _records(archive, shards):
        opening.meter.advance(len(record))
        census.add(parse_example(record, place), split, place)
    check_count(census.total, archive.name, opening.limits)
    labels = census.labels(archive.name)
    splits = tuple(split for split in SPLITS if split in census.counts)
    return TFRecords(labels, splits, census.total, archive, shards)


def _records(archive: Archive, shards: Mapping[Split, Sequence[Member]]) -> Iterator[tuple[Split, str, bytes]]:
    for split in SPLITS:
        for shard in shards.get(split, ()):
            for index, record in enumerate(read_records(archive, shard)):
                yield split, f"{shard.name}[{index}]", record


def _shards(archive: Archive) -> dict[Split, list[Member]]:
    faults, shards = Faults(), dict[Split, list[Member]]()
    for member in sorted(archive.members, key=lambda member: member.name):
        if member.size == 0 or member.name.lower().endswith(_TEXT_FILES):
            continue
        try:
            # A file named so and damaged at once is told what is wrong by the reader of its records.
            if is_tfrecord(archive.head(member)) or "tfrecord" in base_name(member.name).lower():
                shards.setdefault(split_of(member.name), []).append(member)
            else:
                faults.add(member.name, "not_a_tfrecord", "it does not begin with a TFRecord record")
        except UnreadableMember as error:
            faults.add(member.name, "corrupt_member", f"its bytes are damaged: {error.detail}")
    faults.check()
    return shards


def split_of(name: str) -> Split:
    """`flowers-train-00001-of-00005.tfrecord`, `val.tfrecord`, `test/0001.tfrecord`."""
    for part in reversed(name.lower().split("/")):
        if (found := _SPLIT_WORD.search(part)) is not None:
            word = found[1]
            return "train" if word == "train" else "test" if word == "test" else "validation"
    return "train"
