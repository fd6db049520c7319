"""Reading a study of 10,000 jobs (1,000 variants, 10 seeds) of 20 epochs each from SQLite: listing, table, effects, curves.

Prints seconds and bytes of each answer, and how much memory the API took meanwhile. Epochs are summed up by the database.
Usage: python bench_study_read.py [--variants 1000]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
from rich.console import Console
from rich.table import Table
from running import running_api
from sqlalchemy import insert, select, update
from stored_jobs import fill

from core.database import Database
from core.donors import no_donors
from core.repositories.studies import create_study
from core.tables import LOCAL_TENANT, EpochRow, JobRow, StudyRow, StudyRunRow, utc_now
from core.validation import builtin_dataset
from migrations.schema import upgrade
from service.studies.checking import check_study
from service.studies.submission import new_study

SEEDS, EPOCHS = 10, 20
_NOW = utc_now()
PATHS = (
    "",
    "/runs?page_size=1000",
    "/results",
    "/results?format=csv",
    "/effects",
    "/curves.svg",
)


def stored_study(database: Database, variants: int) -> str:
    """A finished study whose jobs learn at their own pace. Returns its id."""
    batches, rates = range(1, variants // 10 + 1), [round(0.001 * step, 4) for step in range(1, 11)]
    body = {
        "name": "large",
        "base": {"dataset": "digits", "architecture": "lenet", "epochs": EPOCHS},
        "space": {"batch_size": list(batches), "optimizer.learning_rate": rates},
        "seeds": SEEDS,
    }
    checked = check_study(body, builtin_dataset, no_donors, lambda _: True)
    jobs, _ = fill(database, variants * SEEDS + 1_000, 1)  # the last thousand wait
    chance = random.Random(0)
    with database.transaction() as session:
        study = create_study(session, LOCAL_TENANT, new_study(checked), None)
        runs = session.execute(select(StudyRunRow.variant, StudyRunRow.seed).order_by(StudyRunRow.turn)).all()
        epochs: list[dict[str, Any]] = []
        for job, (variant, seed) in zip(jobs, runs, strict=False):
            own = (StudyRunRow.variant == variant, StudyRunRow.seed == seed)
            session.execute(update(StudyRunRow).where(*own).values(job_id=job))
            reached = 0.5 + 0.4 * variant / variants + chance.gauss(0, 0.02)
            best = {"epoch": EPOCHS, "loss": 0.1, "accuracy": reached, "val_loss": 0.2, "val_accuracy": reached}
            session.execute(
                update(JobRow).where(JobRow.id == job).values(state="SUCCEEDED", reason=None, best_epoch=best)
            )
            epochs += [_epoch(job, number, reached) for number in range(6, EPOCHS + 1)]  # five are there
        session.execute(insert(EpochRow), epochs)
        session.execute(update(StudyRow).where(StudyRow.id == study.id).values(state="SUCCEEDED"))
        return study.id


def _epoch(job: str, number: int, reached: float) -> dict[str, Any]:
    figures = {"loss": 0.1, "accuracy": reached, "val_loss": 0.2, "val_accuracy": reached * number / EPOCHS}
    return {
        "job_id": job,
        "epoch": number,
        "tenant_id": LOCAL_TENANT,
        "attempt": 1,
        "learning_rate": 0.001,
        "seconds": 1.0,
        "images_per_second": 1000.0,
        "phase": 1,
        "created_at": _NOW,
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", type=int, default=1_000)
    options = parser.parse_args()
    table = Table("GET", "seconds", "bytes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        database = Database(f"sqlite:///{folder / 'kerasd.sqlite3'}")
        upgrade(database)
        study = stored_study(database, options.variants)
        database.close()
        with running_api(Path(name)) as url:
            for path in PATHS:
                began = time.perf_counter()
                answer = httpx2.get(f"{url}/api/v1/studies/{study}{path}", timeout=300).raise_for_status()
                table.add_row(path or "the study", f"{time.perf_counter() - began:.2f}", f"{len(answer.content):,}")
            (api,) = [each for each in psutil.Process().children() if "service" in each.cmdline()]
            memory = api.memory_info().rss / 1e6
    console = Console()
    console.print(table)
    console.print(f"{options.variants * SEEDS:,} jobs; the API holds {memory:.0f} MB afterwards")


if __name__ == "__main__":
    main()
