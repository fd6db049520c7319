"""Successive halving against the full grid: LeNet on a part of MNIST, 3 optimizers x 3 learning rates x 2 batch sizes, 9 epochs.

Asked for: a configuration within 1 point of the grid's best (validation accuracy) at no more than 40 % of its epochs.
Usage: python bench_halving.py /path/to/mnist.npz (without a path the set is downloaded)
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from running import running_kerasd

from client.client import Client

EPOCHS = 9
STUDY: dict[str, Any] = {
    "base": {
        "dataset": {"name": "mnist", "train_limit": 6_000},
        "architecture": "lenet",
        "epochs": EPOCHS,
        "deterministic": True,
    },
    "space": {
        "optimizer": ["sgd", "adam", "rmsprop"],
        "optimizer.learning_rate": [0.1, 0.01, 0.001],
        "batch_size": [128, 32],
    },
    "seeds": 1,
    "reuse": False,
}
HALVING = {"method": "successive_halving", "min_epochs": 1, "reduction_factor": 3}


def main() -> None:
    files = {"KERASD_DATASET_FILES": json.dumps({"mnist": sys.argv[1]})} if len(sys.argv) > 1 else {}
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder, running_kerasd(Path(folder), **files) as client:
        halved, few = measured(client, console, "halving", pruning=HALVING)
        best, all_epochs = measured(client, console, "grid")
    console.print(
        f"halving: {100 * few / all_epochs:.0f} % of the grid's epochs, {100 * (best - halved):+.2f} points behind"
    )


def measured(client: Client, console: Console, name: str, **changes: Any) -> tuple[float, int]:
    """The best validation accuracy of the study's jobs that have a model, and how many epochs were trained in all."""
    began = time.monotonic()
    study = client.wait_study(client.submit_study({"name": name, **STUDY, **changes}).id)
    seconds = time.monotonic() - began
    jobs = [client.job(run.job) for run in client.study_runs(study.id) if run.job]
    reached = [
        (accuracy, job.spec)
        for job in jobs
        if job.state == "SUCCEEDED" and job.best_epoch is not None
        if (accuracy := job.best_epoch.val_accuracy) is not None
    ]
    accuracy, spec = max(reached, key=lambda pair: pair[0])
    epochs = sum(len(client.epochs(job.id)) for job in jobs)
    console.print(
        f"{name}: {study.state} ({study.detail}), {epochs} epochs in {seconds:.0f} s, best {accuracy:.4f}"
        f" by {spec['optimizer']['name']} {spec['optimizer']['learning_rate']:g}, batch {spec['batch_size']}"
    )
    return accuracy, epochs


if __name__ == "__main__":
    main()
