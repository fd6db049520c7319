import gc
from pathlib import Path

import numpy as np
import pytest
from servers import S3

from core.artifacts import ArtifactStore
from core.dataset_content import INDEX
from core.errors import ArtifactCorrupt
from worker.datasets.storage import INDEX_BLOCK, DatasetWriter
from worker.imports.fingerprints import repeats
from worker.imports.readback import StoredImages
from worker.imports.spool import Spool, SpooledHashes
from worker.imports.ticks import Ticks, parts


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestSpool:
    def test_gives_back_what_was_written_in_pieces_of_rows_by_columns(self) -> None:
        hashes = np.random.default_rng(0).integers(0, 2**63, (1000, 9), dtype=np.uint64)
        spooled = SpooledHashes(1000, 9)
        for start in range(0, 1000, 300):
            spooled.write(start, hashes[start : start + 300])
        for view in range(9):
            assert (spooled.read(view, 0, 1000) == hashes[:, view]).all()
        assert (spooled.read(3, 990, 2000) == hashes[990:, 3]).all()
        assert len(spooled.read(0, 1000, 1000)) == 0

    def test_leaves_neither_file_nor_descriptor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        gc.collect()
        before = _descriptors()
        spool = Spool()
        spool.write(0, np.arange(10))
        assert list(tmp_path.iterdir()) == []
        assert _descriptors() == before + 1
        del spool
        gc.collect()
        assert _descriptors() == before

    def test_a_file_cut_short_is_an_error(self) -> None:
        with pytest.raises(EOFError):
            Spool().read(0, np.zeros(3))


class TestRepeats:
    def test_each_row_that_equals_an_earlier_one_comes_with_the_first(self) -> None:
        digests = np.random.default_rng(0).integers(0, 6, (300, 2), dtype=np.uint64)
        firsts: dict[tuple[int, ...], int] = {}
        expected = []
        for row, digest in enumerate(digests.tolist()):
            first = firsts.setdefault(tuple(digest), row)
            if first != row:
                expected.append((row, first))
        later, earlier = repeats(digests)
        assert list(zip(later.tolist(), earlier.tolist(), strict=True)) == expected

    def test_the_same_first_word_is_not_enough(self) -> None:
        later, earlier = repeats(np.array([[7, 1], [7, 2], [7, 1]], np.uint64))
        assert (later.tolist(), earlier.tolist()) == ([2], [0])

    @pytest.mark.parametrize("count", [0, 1, 50])
    def test_none(self, count: int) -> None:
        digests = np.arange(2 * count, dtype=np.uint64).reshape(count, 2)
        assert [len(each) for each in repeats(digests)] == [0, 0]


class TestTicks:
    def test_parts_follow_each_other_by_their_sizes(self) -> None:
        told: list[float] = []
        first, second, third = parts(told.append, (1, 0, 3))
        for part in (first, second, third):
            ticks = Ticks(2, part)
            ticks.one()
            ticks.one()
        assert told == pytest.approx([0.125, 0.25, 0.25, 0.25, 0.625, 1])

    def test_nothing_to_do_tells_nothing(self) -> None:
        Ticks(0, lambda _: pytest.fail("told")).more(0)


class TestStoredIndex:
    @pytest.mark.parametrize("images", [0, 1, INDEX_BLOCK, INDEX_BLOCK + 1])
    def test_has_one_entry_an_image_however_many_were_written_at_once(self, tmp_path: Path, images: int) -> None:
        store = ArtifactStore(str(tmp_path))
        with DatasetWriter(store, "d", ("a", "b"), ("train",)) as writer:
            for number in range(images):
                writer.add("train", number % 2, np.full((1, 2, 1), number % 251, np.uint8))
            stored = writer.finish()
        entries = np.frombuffer(store.get("d/train.index", stored["train"].index.sha256), INDEX)
        assert len(entries) == stored["train"].images == images
        assert entries["label"].tolist() == [number % 2 for number in range(images)]
        with StoredImages(store, "d", stored) as back:
            assert [back.read("train", number)[0, 0, 0] for number in range(images)] == [n % 251 for n in range(images)]

    def test_an_image_beyond_it_cannot_be_read(self, tmp_path: Path) -> None:
        store = ArtifactStore(str(tmp_path))
        with DatasetWriter(store, "d", ("a",), ("train",)) as writer:
            writer.add("train", 0, np.zeros((2, 2, 1), np.uint8))
            stored = writer.finish()
        with StoredImages(store, "d", stored) as back, pytest.raises(ArtifactCorrupt, match="image 1 of train"):
            back.read("train", 1)

    def test_one_that_is_given_up_leaves_nothing_on_s3(self, s3: S3) -> None:
        url = s3.bucket()
        with DatasetWriter(ArtifactStore(url, s3.access()), "d", ("a",), ("train",)) as writer:
            for _ in range(INDEX_BLOCK + 1):
                writer.add("train", 0, np.zeros((64, 64, 1), np.uint8))
            assert s3.unfinished(url) == 1
        assert s3.unfinished(url) == 0
        assert s3.keys(url) == []
