"""LeNet, MyCNN and transfer on MNIST: the test accuracy that each reaches in few epochs, with its curves as a picture.

Transfer's base is VGG16's, trained by an earlier job of the same run. Asked for: 0.97, 0.95 and 0.90.
Usage: python bench_experiments.py /path/to/mnist.npz [--curves docs/experiments]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from running import running_kerasd

FEW = {"name": "mnist", "train_limit": 10_000}
BASE = {"name": "vgg", "preset": "vgg16", "input_size": 32, "initializer": "he_normal"}

LENET = {"dataset": "mnist", "architecture": "lenet", "optimizer": "adam", "epochs": 3}
# The rate ends at zero: else batch normalisation's running statistics, some thousand steps long, lag behind the weights.
MYCNN = {
    "dataset": FEW,
    "architecture": "mycnn",
    "optimizer": "adam",
    "learning_rate_schedule": {"name": "cosine"},
    "batch_size": 32,
    "epochs": 5,
}
DONOR = {
    "dataset": {**FEW, "train_limit": 3_000, "color": "rgb"},
    "architecture": BASE,
    "optimizer": {"name": "adam", "learning_rate": 1e-4},
    "batch_size": 32,
    "epochs": 4,
}
TRANSFER: dict[str, Any] = {
    "dataset": {**FEW, "train_limit": 3_000},
    "architecture": {"name": "transfer", "head": "average"},
    "optimizer": "adam",
    "batch_size": 64,
    "phases": [{"epochs": 2}, {"epochs": 2, "learning_rate": 1e-5, "unfreeze_from": "block4_conv1"}],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--only", help="one of lenet, mycnn and transfer")
    parser.add_argument("--curves", type=Path, help="where to write the pictures")
    arguments = parser.parse_args()
    files = {"KERASD_DATASET_FILES": json.dumps({"mnist": str(arguments.mnist)}), "KERASD_SLOTS": "1"}
    console = Console(width=160)

    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as folder, running_kerasd(Path(folder), **files) as client:

        def train(name: str, spec: dict[str, Any]) -> str:
            job = client.wait(client.submit(spec).id)
            if job.evaluation is None:
                raise SystemExit(f"{name}: {job.state}: {job.detail}")
            epochs = client.epochs(job.id)
            seconds = sum(epoch.seconds for epoch in epochs)
            console.print(
                f"{name}: test accuracy {job.evaluation.test_accuracy:.4f} after {len(epochs)} epochs, {seconds:.0f} s"
            )
            if arguments.curves:
                arguments.curves.mkdir(parents=True, exist_ok=True)
                picture = httpx2.get(f"{client.url}/api/v1/jobs/{job.id}/curves.svg")
                (arguments.curves / f"{name}.svg").write_bytes(picture.raise_for_status().content)
            return job.id

        if arguments.only in (None, "lenet"):
            train("lenet", LENET)
        if arguments.only in (None, "mycnn"):
            train("mycnn", MYCNN)
        if arguments.only in (None, "transfer"):
            donor = train("vgg16-base", DONOR)
            TRANSFER["architecture"]["weights"] = {"job": donor}
            train("transfer", TRANSFER)


if __name__ == "__main__":
    main()
