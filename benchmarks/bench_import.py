"""Importing: time and peak memory of the importing process for 200 MB and 2 GB of raw pixels, and for 8,000 PNGs.

Asked for: memory that does not grow with the dataset. Usage: python bench_import.py
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

SHAPE = (32, 32, 3)
IMAGE_BYTES = 32 * 32 * 3

IMPORT = """
import json, resource, sys, time
from pathlib import Path
from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.claims import Holder
from core.repositories.datasets import Registration, register_dataset, get_dataset
from core.repositories.imports import claim_import
from core.settings import Settings
from core.tables import LOCAL_TENANT
from migrations.schema import upgrade
settings = Settings()
database = Database(settings.database)
upgrade(database)
file = Path(sys.argv[1])
upload = {"name": file.name, "path": f"uploads/{file.name}", "bytes": file.stat().st_size, "sha256": ""}
with database.transaction() as session:
    register_dataset(session, LOCAL_TENANT, Registration("bench", {"files": [file.name]}, {}, [upload]), None)
    claim = claim_import(session, Holder("bench", "bench", 1, 1.0))
from worker.importer import import_dataset
from worker.imports.supervisor import assignment_of
resource.setrlimit(resource.RLIMIT_AS, (settings.import_memory_bytes,) * 2)
started = time.perf_counter()
import_dataset(assignment_of(claim), settings)
seconds = time.perf_counter() - started
with database.snapshot() as session:
    row = get_dataset(session, LOCAL_TENANT, "bench")
    assert row.state == "READY", row.detail
    search = row.report["duplicates"]["search"]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, seconds, search)
"""


def main() -> None:
    table = Table("upload", "images", "seconds", "images/s", "peak memory", "search for duplicates")
    makers: dict[str, Callable[[Path], int]] = {
        "npz, 200 MB": lambda file: write_npz(file, 200 * 10**6 // IMAGE_BYTES),
        "npz, 2 GB": lambda file: write_npz(file, 2 * 10**9 // IMAGE_BYTES),
        "zip of PNGs, 9 classes, mixed sizes": lambda file: write_zip(file, 8_000),
    }
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as folder:
            uploads = Path(folder) / "artifacts" / "uploads"
            uploads.mkdir(parents=True)
            images = make(uploads / "file")
            environment = {**os.environ, "KERASD_DATA_DIR": folder, "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, "-c", IMPORT, str(uploads / "file")]
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            peak, seconds, search = answer.splitlines()[-1].split()
            table.add_row(
                name,
                f"{images:,}",
                f"{float(seconds):.1f}",
                f"{images / float(seconds):,.0f}",
                f"{int(peak) / 1e6:.0f} MB",
                search,
            )
    Console().print(table)


def write_npz(file: Path, images: int) -> int:
    """Random pixels, written without holding them."""
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("x_train.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (images, *SHAPE)}
            np.lib.format.write_array_header_1_0(member, header)
            for start in range(0, images, 10_000):
                member.write(noise.integers(0, 256, (min(10_000, images - start), *SHAPE), np.uint8).tobytes())
        with archive.open("y_train.npy", "w") as member:
            np.lib.format.write_array(member, np.arange(images) % 20)
    return images


def write_zip(file: Path, images: int) -> int:
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(images):
            height, width = (int(side) for side in noise.integers(24, 97, 2))
            small = noise.integers(0, 256, (6, 6, 3), np.uint8)
            picture = io.BytesIO()
            Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(picture, "PNG")
            archive.writestr(f"class{number % 9}/{number}.png", picture.getvalue())
    return images


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    Console().print(f"{time.perf_counter() - started:.0f} s in all")
