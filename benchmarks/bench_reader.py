"""Reading a dataset while LeNet trains on it: peak memory at 200 MB and 2 GB of raw pixels, and the reader's own speed.

Asked for: the peaks differ by at most 150 MB; the reader alone, nothing kept in memory, delivers at least 3 times the
images that LeNet's training takes on the same machine. Usage: python bench_reader.py
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from core.artifacts import ArtifactStore
from core.dataset_content import DatasetContent, ImageSizes, StoredDataset, StoredFile
from core.settings import Settings
from worker.datasets.storage import DatasetWriter

SHAPE = (32, 32, 3)
IMAGE_BYTES = 32 * 32 * 3
CLASSES = tuple(str(number) for number in range(20))
SIZES = {"200 MB": 200 * 10**6 // IMAGE_BYTES, "2 GB": 2 * 10**9 // IMAGE_BYTES}


def main() -> None:
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), cached=sys.argv[2] == "cached")
        return
    table = Table("raw pixels", "images", "kept in memory", "peak memory", "training alone with reader", "reader alone")
    with tempfile.TemporaryDirectory() as folder:
        for name, images in SIZES.items():
            root = Path(folder) / name.replace(" ", "")
            write(root, images)
            for cached in (False,) if name == "2 GB" else (True, False):
                command = [sys.executable, __file__, str(root), "cached" if cached else "uncached"]
                answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                peak, trained, read = (float(part) for part in answer[-3:])
                table.add_row(
                    name,
                    f"{images:,}",
                    "yes" if cached else "no",
                    f"{peak / 1e6:,.0f} MB",
                    f"{trained:,.0f} images/s",
                    f"{read:,.0f} images/s ({read / trained:.1f}x)",
                )
    Console().print(table)


def write(root: Path, images: int) -> None:
    """A stored dataset of random pixels, as an import leaves one."""
    store, noise = ArtifactStore(str(root)), np.random.default_rng(0)
    with DatasetWriter(store, "d", CLASSES, ("train",)) as writer:
        for number in range(images):
            writer.add("train", number % len(CLASSES), noise.integers(0, 256, SHAPE, np.uint8))
        splits = dict(writer.finish())
    file = StoredFile(name="none", bytes=0, sha256="")
    content = DatasetContent(
        labels=CLASSES,
        splits=splits,
        sizes=ImageSizes(smallest=(32, 32), largest=(32, 32), distinct=1),
        channels=3,
        mean=(0.0,) * 3,
        std=(0.0,) * 3,
        contact_sheet=file,
    )
    (root / "content.json").write_text(content.model_dump_json())


def measure(root: Path, *, cached: bool) -> None:
    """Prints peak bytes, images a second of training, images a second of the reader alone."""
    import keras

    from core.validation import check_spec
    from worker.network import build_network
    from worker.pipeline import EpochOrder, split_dataset, training_batches

    content = DatasetContent.model_validate_json((root / "content.json").read_bytes())
    dataset = StoredDataset("d", "bench", "digest", "d", content)
    settings = Settings(data_dir=root / "data", cache_pixel_bytes=(256 << 20) if cached else 0)
    spec = {"dataset": "bench", "architecture": "lenet", "epochs": 1}
    checked = check_spec(spec, content.info)
    data = split_dataset(dataset, checked.spec.dataset, checked.input_shape, ArtifactStore(str(root)), settings)
    images = len(data.train.labels)
    network = build_network(checked.layers, checked.input_shape)
    network.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=64,
    )
    batches = training_batches(data.train, 32, EpochOrder(0, images))
    network.fit(batches.take(64), verbose=0)
    started = time.perf_counter()
    network.fit(batches, verbose=0)
    trained = images / (time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    for _ in batches:
        pass
    read = images / (time.perf_counter() - started)
    print(peak, trained, read)


if __name__ == "__main__":
    main()
