"""The built-in datasets: what is known of them without having them, so that a spec can be checked at once."""

from __future__ import annotations

from dataclasses import dataclass

_DIGITS = tuple(str(digit) for digit in range(10))
_CIFAR100 = [
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
]


_CIFAR100_SUPERCLASSES = (
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
)


@dataclass(frozen=True)
class DatasetInfo:
    """What a job spec is checked against: ordered labels, image sizes, and images per class of each split."""

    name: str
    labels: tuple[str, ...]
    size: tuple[int, int] | None
    """(height, width) of every image; None where sizes are mixed."""
    channels: int
    """3, or 1 where every image is grayscale."""
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...] | None
    """None where the set comes without a test split."""
    validation_counts: tuple[int, ...] | None = None
    """None where the set comes without a validation split."""

    @property
    def color(self) -> str:
        return "rgb" if self.channels == 3 else "grayscale"


BUILTIN_DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("digits", _DIGITS, (8, 8), 1, (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), None),
        DatasetInfo(
            "mnist",
            _DIGITS,
            (28, 28),
            1,
            (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        ),
        DatasetInfo(
            "fashion_mnist",
            ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot"),
            (28, 28),
            1,
            (6000,) * 10,
            (1000,) * 10,
        ),
        DatasetInfo(
            "cifar10",
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            (32, 32),
            3,
            (5000,) * 10,
            (1000,) * 10,
        ),
        DatasetInfo("cifar100", tuple(_CIFAR100), (32, 32), 3, (500,) * 100, (100,) * 100),
        DatasetInfo("cifar100_coarse", _CIFAR100_SUPERCLASSES, (32, 32), 3, (2500,) * 20, (500,) * 20),
    )
}
