"""Comparing 1,000 jobs of 200 epochs in one request over HTTP, on SQLite.

Asked for: a 95th percentile under 1 s (JSON). Usage: python bench_compare.py [--jobs 1000] [--epochs 200] [--repeats 30]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import httpx2
from bench_control_plane import measured
from rich.console import Console
from running import running_api
from stored_jobs import QUEUED, fill

from core.database import Database
from migrations.schema import upgrade

COMPARE = "/api/v1/compare"
PICTURES = ("svg", "png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        url = f"sqlite:///{Path(name) / 'kerasd.sqlite3'}"
        database = Database(url)
        upgrade(database)
        ids, _ = fill(database, options.jobs + QUEUED, 1, options.epochs)
        database.close()
        with running_api(Path(name), KERASD_DATABASE_URL=url) as address:
            for few in (2, options.jobs):
                bench(address, ids[:few], options.repeats, console)


def bench(address: str, ids: list[str], repeats: int, console: Console) -> None:
    """Pictures are drawn a tenth as often."""
    with httpx2.Client(base_url=address, timeout=60) as http:
        for kind in ("json", "csv", "curves_csv", *PICTURES):
            often = max(3, repeats // 10) if kind in PICTURES else repeats
            params = {"jobs": ",".join(ids), "format": kind}
            size = len(http.get(COMPARE, params=params).raise_for_status().content)
            median, p95 = measured(lambda params=params: http.get(COMPARE, params=params), often)  # type: ignore[misc]
            console.print(f"{len(ids):,} jobs, {kind}, {size / 1e6:.2f} MB: median {median:.0f} ms, p95 {p95:.0f} ms")


if __name__ == "__main__":
    main()
