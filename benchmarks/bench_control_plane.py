"""Reading jobs over HTTP where 100,000 are stored, on SQLite and on Postgres.

Asked for, as 95th percentiles: one job in 5 ms, a page of 50 in 20 ms; all epochs of a job of 10,000 in 50 ms.
Usage: python bench_control_plane.py [--jobs 100000] [--repeats 200]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from rich.console import Console
from running import running_api
from stored_jobs import RARE_TAG, fill

from core.database import Database
from migrations.schema import upgrade

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))
from servers import running_postgres

LONG_EPOCHS = 10_000
WARM_UP = 20
JOBS = "/api/v1/jobs"

PAGES = {
    "a page of 50": {},
    "the oldest first": {"order_by": "created_at"},
    "SUCCEEDED (90 %)": {"state": "SUCCEEDED"},
    "FAILED (7 %)": {"state": "FAILED"},
    "QUEUED (1,000)": {"state": "QUEUED"},
    "RUNNING (none)": {"state": "RUNNING"},
    "architecture=lenet (99.9 %)": {"architecture": "lenet"},
    "architecture=vgg (0.1 %)": {"architecture": "vgg"},
    "dataset=mnist (0.1 %)": {"dataset": "mnist"},
    "tag=course (all)": {"tag": "course"},
    f"tag={RARE_TAG} (0.1 %)": {"tag": RARE_TAG},
    "tag of no job": {"tag": "nothing=here"},
}


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Empty ones, by engine."""
    with running_postgres() as server, server.database(migrated=False) as url:
        yield {"SQLite": f"sqlite:///{folder / 'kerasd.sqlite3'}", "Postgres": url}


def measured(ask: Callable[[], httpx2.Response], repeats: int) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    taken = []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        answer = ask()
        taken.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
    taken = taken[WARM_UP:]
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def bench(
    url: str, ids: list[str], long: str, repeats: int, report: Callable[[str, tuple[float, float]], None]
) -> None:
    chance = random.Random(1)
    with httpx2.Client(base_url=url, timeout=60) as http:
        report("one job", measured(lambda: http.get(f"{JOBS}/{chance.choice(ids)}"), repeats))
        for name, query in PAGES.items():
            report(name, measured(lambda query=query: http.get(JOBS, params=query), repeats))  # type: ignore[misc]
        middle = http.get(JOBS, params={"page_size": 1000}).json()["next_page_token"]
        report("a page further on", measured(lambda: http.get(JOBS, params={"page_token": middle}), repeats))
        report(f"{LONG_EPOCHS:,} epochs", measured(lambda: http.get(f"{JOBS}/{long}/epochs"), max(20, repeats // 5)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as urls:
        for engine, url in urls.items():
            database = Database(url)
            upgrade(database)
            ids, long = fill(database, options.jobs, LONG_EPOCHS)
            database.close()

            def report(what: str, figures: tuple[float, float], engine: str = engine) -> None:
                console.print(f"{engine}, {what}: median {figures[0]:.1f} ms, p95 {figures[1]:.1f} ms")

            with running_api(Path(name), KERASD_DATABASE_URL=url) as address:
                bench(address, ids, long, options.repeats, report)


if __name__ == "__main__":
    main()
