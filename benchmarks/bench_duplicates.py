"""Near-duplicates: how many of planted ones are found, how many others are reported, and how long it takes.

Asked for: 20 of 20 on every set; MNIST's 10,000 test images against its 60,000 in well under a minute of one core.
Usage: python bench_duplicates.py [/path/to/mnist.npz]
"""

from __future__ import annotations

import io
import itertools
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from worker.imports.duplicates import Duplicates, find_duplicates
from worker.imports.fingerprints import Fingerprints
from worker.imports.source import Pixels, Split

PLANTED = 20
SHIFTS = [step for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]
Images = Sequence[Pixels]


def main() -> None:
    table = Table(title=f"{PLANTED} near-duplicates planted in a test split")
    for column in ("set", "images", "found", "others reported", "seconds", "looked at"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, images in sets(sys.argv[1:]):
        found, others, seconds, looks = planted(images)
        table.add_row(name, f"{len(images):,}", f"{found}", f"{others}", f"{seconds:.1f}", f"{looks:,}")
    console = Console()
    console.print(table)
    for name, splits in natural(sys.argv[1:]):
        duplicates, filling, seconds = search(splits)
        near, count = duplicates.near, sum(len(each) for each in splits.values())
        console.print(
            f"{name}: {near.total} near and {duplicates.exact.total} exact duplicates reported;"
            f" fingerprints {count / filling:,.0f} images/s, search {seconds:.1f} s ({duplicates.search})"
        )


def planted(images: Images) -> tuple[int, int, float, int]:
    """(planted copies found, other images reported, seconds, candidates looked at)"""
    rng = np.random.default_rng(0)
    originals = rng.permutation(len(images))[:PLANTED]
    copies = [copy_of(images[original], number, rng) for number, original in enumerate(originals)]
    duplicates, _, seconds = search({"train": images, "test": copies})
    pairs = (*duplicates.near.examples, *duplicates.exact.examples)
    found = sum(originals[pair.second.index] == pair.first.index for pair in pairs)
    return found, len(pairs) - found, seconds, duplicates.looked_at


def search(splits: Mapping[Split, Images]) -> tuple[Duplicates, float, float]:
    """The duplicates, and the seconds that fingerprints and search took."""
    fingerprints = Fingerprints()
    started = time.perf_counter()
    for split, images in splits.items():
        for pixels in images:
            fingerprints.add(split, 0, pixels)
    filled = time.perf_counter()
    duplicates = find_duplicates(fingerprints, lambda split, index: splits[split][index])
    return duplicates, filled - started, time.perf_counter() - filled


def sets(paths: Sequence[str]) -> list[tuple[str, Images]]:
    rng = np.random.default_rng(1)
    named: list[tuple[str, Images]] = [
        ("digits, 8x8", digits()),
        ("digits, 32x32", [resized(pixels, 4.0, back=False) for pixels in digits()]),
        ("noise, 32x32x3", list(rng.integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8))),
        ("noise, 64x64x3", list(rng.integers(0, 256, (2000, 64, 64, 3), dtype=np.uint8))),
        ("drawn, 200x150x3", [drawing(rng) for _ in range(500)]),
    ]
    return named + [("mnist, 28x28", np.load(path)["x_train"][:, :, :, None]) for path in paths]


def natural(paths: Sequence[str]) -> list[tuple[str, Mapping[Split, Images]]]:
    """Sets without planted copies: what is reported there is a true repeat or a mistake."""
    named: list[tuple[str, Mapping[Split, Images]]] = [("digits in themselves", {"train": digits()})]
    for path in paths:
        arrays = np.load(path)
        train, test = (arrays[key][:, :, :, None] for key in ("x_train", "x_test"))
        named.append(("mnist, test against train", {"train": train, "test": test}))
    return named


def digits() -> Images:
    from sklearn.datasets import load_digits

    return list((load_digits().images * (255 / 16)).round().astype(np.uint8)[:, :, :, None])


def drawing(rng: np.random.Generator) -> Pixels:
    """Smooth gradients under a few translucent shapes, 200 x 150."""
    height, width = 150, 200
    down, across = np.mgrid[:height, :width] / width
    slopes = rng.uniform(-70, 70, (2, 3))
    pixels = rng.uniform(60, 190, 3) + down[:, :, None] * slopes[0] + across[:, :, None] * slopes[1]
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(image, "RGBA")
    for _ in range(rng.integers(3, 9)):
        x, y, side = (float(rng.uniform(*bounds)) for bounds in ((0, width), (0, height), (10, 80)))
        draw = canvas.ellipse if rng.random() < 0.5 else canvas.rectangle
        draw((x, y, x + side, y + side * float(rng.uniform(0.5, 1.5))), fill=(*rng.integers(0, 256, 3).tolist(), 200))
    return with_channels(image)


def copy_of(pixels: Pixels, number: int, rng: np.random.Generator) -> Pixels:
    """Number 0 re-encoded, 1 shifted, 2 resized and back, 3 left at another size, 4 resized to the smallest and back."""
    factor = float(rng.uniform(0.75, 1.5))
    match number % 5:
        case 0:
            return reencoded(pixels)
        case 1:
            return shifted(pixels, rng)
        case kind:
            return resized(pixels, 0.75 if kind == 4 else factor, back=kind != 3)


def reencoded(pixels: Pixels) -> Pixels:
    data = io.BytesIO()
    picture(pixels).save(data, "JPEG", quality=75)
    return with_channels(Image.open(data))


def shifted(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """By one pixel in one of the eight directions; what comes in is wrapped around, repeated or black."""
    (down, across), fill = SHIFTS[rng.integers(8)], rng.integers(3)
    if fill == 0:
        return np.roll(pixels, (down, across), (0, 1))
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), "edge" if fill == 1 else "constant")
    return padded[1 - down : 1 - down + height, 1 - across : 1 - across + width]


def resized(pixels: Pixels, factor: float, *, back: bool) -> Pixels:
    height, width = pixels.shape[:2]
    other = picture(pixels).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    return with_channels(other.resize((width, height), Image.Resampling.BILINEAR) if back else other)


def picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def with_channels(image: Image.Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


if __name__ == "__main__":
    main()
