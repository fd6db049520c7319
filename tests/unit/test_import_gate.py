import pytest

from core.dataset_content import DatasetContent, ImageSizes, StoredFile, StoredSplit
from worker.imports.duplicates import Duplicates, Pair, Place, Repeats
from worker.imports.gate import judge
from worker.imports.source import FileError, Rejected, Split

FILE = StoredFile(name="x", bytes=1, sha256="0" * 64)
UNIFORM = ImageSizes(smallest=(8, 8), largest=(8, 8), distinct=1)
NONE = Duplicates(Repeats(), Repeats())


def content(
    train: tuple[int, ...] = (100, 100),
    labels: tuple[str, ...] | None = None,
    sizes: ImageSizes = UNIFORM,
    *,
    mixed_color: bool = False,
    test: tuple[int, ...] | None = None,
) -> DatasetContent:
    def split(counts: tuple[int, ...]) -> StoredSplit:
        return StoredSplit(images=sum(counts), class_counts=counts, index=FILE, shards=())

    return DatasetContent(
        labels=labels or tuple(f"class {number}" for number in range(len(train))),
        splits={"train": split(train)} if test is None else {"train": split(train), "test": split(test)},
        sizes=sizes,
        channels=3,
        mixed_color=mixed_color,
        mean=(0.0,),
        std=(1.0,),
        contact_sheet=FILE,
    )


def repeats(*pairs: Pair) -> Repeats:
    return Repeats(
        len(pairs), sum(pair.across for pair in pairs), sum(pair.conflicting for pair in pairs), tuple(pairs)
    )


def pair(first: Split = "train", second: Split = "test", labels: tuple[int, int] = (0, 0)) -> Pair:
    return Pair(Place(first, 3, labels[0]), Place(second, 7, labels[1]))


def warnings(given: DatasetContent | None = None, duplicates: Duplicates = NONE, skipped: int = 0) -> dict[str, str]:
    return {warning["code"]: warning["detail"] for warning in judge(given or content(), duplicates, skipped)}


class TestRefusals:
    def refused(self, given: DatasetContent, skipped: int = 0) -> tuple[FileError, ...]:
        with pytest.raises(Rejected) as caught:
            judge(given, NONE, skipped)
        return caught.value.errors

    def test_no_images(self) -> None:
        (error,) = self.refused(content(train=()), skipped=4)
        assert error.code == "no_images"
        assert "4 images could not be read" in error.detail

    def test_one_class(self) -> None:
        (error,) = self.refused(content(train=(50,)))
        assert error.code == "too_few_classes"

    def test_every_class_that_could_only_be_tested_is_named(self) -> None:
        errors = self.refused(content(train=(50, 50, 0, 0), labels=("rose", "elm", "tulip", "oak"), test=(5, 5, 5, 5)))
        assert [(error.code, error.file) for error in errors] == [("empty_class", "tulip"), ("empty_class", "oak")]

    def test_more_than_a_report_names_are_counted(self) -> None:
        with pytest.raises(Rejected) as caught:
            judge(content(train=(50, 50) + (0,) * 300, test=(1,) * 302), NONE, 0)
        assert (len(caught.value.errors), caught.value.total) == (100, 300)


class TestWarnings:
    def test_a_good_set_has_none(self) -> None:
        assert judge(content(test=(10, 10)), NONE, 0) == []

    def test_class_imbalance_names_both_ends(self) -> None:
        detail = warnings(content(train=(1001, 100), labels=("rose", "tulip")))["class_imbalance"]
        assert "'rose' has 1,001 images" in detail
        assert "'tulip' only 100" in detail

    def test_ten_times_is_still_balanced(self) -> None:
        assert warnings(content(train=(1000, 100))) == {}

    def test_classes_that_are_only_named(self) -> None:
        found = warnings(content(train=(20, 20, 0), labels=("rose", "tulip", "oak")))
        assert set(found) == {"empty_class"}
        assert "'oak' has no images" in found["empty_class"]

    def test_tiny_classes(self) -> None:
        assert (
            "'tulip' (9) has fewer than 10" in warnings(content(train=(12, 9), labels=("rose", "tulip")))["tiny_class"]
        )

    def test_many_tiny_classes_are_counted(self) -> None:
        assert "and 15 more classes have" in warnings(content(train=(2,) * 20))["tiny_class"]

    def test_mixed_sizes(self) -> None:
        sizes = ImageSizes(smallest=(20, 30), largest=(400, 300), distinct=17)
        assert "from 20 x 30 to 400 x 300" in warnings(content(sizes=sizes))["mixed_sizes"]

    def test_mixed_colour(self) -> None:
        assert "mixed_color" in warnings(content(mixed_color=True))

    def test_skipped_images(self) -> None:
        assert "1 image of 201 could not be read and was left out" in warnings(skipped=1)["skipped_images"]


class TestDuplicateWarnings:
    def test_across_splits_with_an_example(self) -> None:
        found = Duplicates(repeats(pair(), pair()), repeats(pair()))
        told = warnings(content(test=(10, 10)), found)
        assert set(told) == {"duplicates_across_splits"}
        assert "2 images repeat exactly and 1 image repeats nearly" in told["duplicates_across_splits"]
        assert "train[3] and test[7]" in told["duplicates_across_splits"]

    def test_within_the_only_split(self) -> None:
        told = warnings(duplicates=Duplicates(repeats(), repeats(pair(second="train"))))
        assert set(told) == {"duplicates"}
        assert "both sides of its split" in told["duplicates"]

    def test_within_one_of_several_splits(self) -> None:
        told = warnings(content(test=(10, 10)), Duplicates(repeats(pair("test", "test")), repeats()))
        assert set(told) == {"duplicates"}
        assert "count twice" in told["duplicates"]

    def test_conflicting_labels(self) -> None:
        given = content(labels=("rose", "tulip"))
        told = warnings(given, Duplicates(repeats(pair(second="train", labels=(0, 1))), repeats()))
        assert set(told) == {"duplicates", "label_conflicts"}
        assert "train[3] and train[7] are 'rose' and 'tulip'" in told["label_conflicts"]
