"""Estimates of `?validate_only=true` against what a training then takes: memory at its peak, and the second epoch's seconds;
of time also what is told of the same job once it has been trained.

Asked for: memory within 25 %, time within 30 %, for all five architectures; an answer within 100 ms.
Usage: python bench_estimates.py [--only lenet]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))
from laboratory import Laboratory

from core.database import Database
from core.repositories.jobs import measured_speed
from core.tables import LOCAL_TENANT
from core.validation import check_spec
from migrations.schema import upgrade
from service.jobs.estimates import estimate, slowness

DIGITS = {"name": "digits", "image_size": 32, "color": "rgb"}
UNTRAINED = {"name": "transfer", "weights": "none", "frozen": False}

CASES: list[dict[str, Any]] = [
    {"architecture": "lenet", "optimizer": "adam", "batch_size": 32},
    {"architecture": "lenet", "optimizer": "sgd", "batch_size": 128},
    {"architecture": "mycnn", "optimizer": "adam", "batch_size": 64},
    {"architecture": "mycnn", "optimizer": "adam", "batch_size": 128},
    {"architecture": "alexnet", "optimizer": "adam", "batch_size": 32},
    {"architecture": "alexnet", "optimizer": "sgd", "batch_size": 32},
    {"architecture": UNTRAINED, "optimizer": "adam", "batch_size": 128},
    {"architecture": "vgg", "optimizer": "adagrad", "batch_size": 64},
]


def name_of(case: dict[str, Any]) -> str:
    architecture = case["architecture"]
    return str(architecture if isinstance(architecture, str) else architecture["name"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one architecture")
    only = parser.parse_args().only
    console = Console(width=160)
    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as folder:
        database = Database(f"sqlite:///{folder}/kerasd.sqlite3")
        upgrade(database)
        lab = Laboratory(Path(folder), database)
        console.print(f"this processor takes {slowness():.2f} times as long as the one that the constants are from")
        for case in CASES:
            if only in (None, name_of(case)):
                compare(lab, {"dataset": DIGITS, "epochs": 3, "precision": "float32", **case}, console)
        database.close()


def compare(lab: Laboratory, spec: dict[str, Any], console: Console) -> None:
    began = time.perf_counter()
    checked = check_spec(spec)
    told = estimate(checked, None, lab.settings.cache_pixel_bytes)
    answered = time.perf_counter() - began
    job = lab.train(**spec)
    seconds = min(epoch["seconds"] for epoch in lab.epochs(job)[1:])
    with lab.database.snapshot() as session:
        again = estimate(checked, measured_speed(session, LOCAL_TENANT, checked), lab.settings.cache_pixel_bytes)
    network = checked.network_in(0)
    console.print(
        f"{name_of(spec)}, {spec['optimizer']}, batch {spec['batch_size']}: "
        f"memory {told.memory_bytes / 1e6:,.0f} MB, took {lab.peak_bytes / 1e6:,.0f} ({told.memory_bytes / lab.peak_bytes - 1:+.0%}); "
        f"epoch {told.epoch_seconds:.3g} s, took {seconds:.3g} ({told.epoch_seconds / seconds - 1:+.0%}); "
        f"of a second such job, {again.epoch_seconds:.3g} s ({again.epoch_seconds / seconds - 1:+.0%}); "
        f"estimated in {answered * 1e3:.1f} ms; {network.parameters:,} parameters, {network.multiply_adds:,} multiply-adds, "
        f"{network.activations:,} activations"
    )


if __name__ == "__main__":
    main()
