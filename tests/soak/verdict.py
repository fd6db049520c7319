"""What must be true when the dust has settled."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from http import HTTPStatus

import httpx2
import psutil
from history import violations
from sqlalchemy import select
from stack import Stack
from traffic import QUICK, Ledger, Traffic

from cli.digits import held_out_digit
from core.artifacts import ArtifactStore
from core.tables import LOCAL_TENANT, JobRow, ModelVersionRow
from core.validation import check_spec
from worker.imports.sweeper import sweep_store
from worker.leftovers import sweep_jobs


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Every process that was started for this stack, by its environment; the present one is not."""
    folder, found = str(stack.settings.data_dir), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("KERASD_DATA_DIR") == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def of_clients(stack: Stack, ledger: Ledger) -> Iterator[str]:
    """What clients saw, against what the database says."""
    yield from ledger.faults
    with stack.database.snapshot() as session:
        keys = Counter(str(tags["soak"]) for tags in session.scalars(select(JobRow.tags)))
        versions = select(ModelVersionRow.name, ModelVersionRow.version, ModelVersionRow.job_id)
        published = {(name, version, job) for name, version, job in session.execute(versions)}
    for key, count in keys.items():
        if count > 1:
            yield f"the key {key} made {count} jobs"
    for answer in ledger.answers.keys() - published:
        yield f"a prediction came from {answer}, which was never published"
    if len(ledger.histories) > 1:
        yield f"deterministic jobs had {len(ledger.histories)} different histories"


def of_predictions(stack: Stack, ledger: Ledger) -> Iterator[str]:
    """Each version, asked for by its number, answers as it did when it was the best."""
    picture = held_out_digit(check_spec(dict(QUICK)).document).png
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        for (name, version, _), (label, probability) in ledger.answers.items():
            answer = Traffic.ask(http, picture, version=version)
            if answer.status_code != HTTPStatus.OK:
                yield f"{name} {version} is answered {answer.status_code}: {answer.text}"
                continue
            best = answer.json()["predictions"][0]
            if label != best["label"] or abs(probability - best["probability"]) > 1e-6:
                yield f"{name} {version} answered {label} {probability}, and now {best}"


def of_processes(stack: Stack, most: int) -> Iterator[str]:
    """While all runs: `most` parts with a standby for each worker, and nothing else."""
    found = processes_of(stack)
    if len(found) > most:
        yield f"{len(found)} processes run where {most} should: {[process.cmdline()[-3:] for process in found]}"


def of_history(stack: Stack, acknowledged: Collection[str]) -> tuple[list[str], int]:
    """After the stop: violations, and how many files only the hourly sweep removes (it is done here, without its grace)."""
    store = ArtifactStore(stack.settings.artifacts)
    swept = sweep_jobs(stack.database, store, LOCAL_TENANT, grace_seconds=0.0)
    swept += sweep_store(stack.database, store, grace_seconds=0.0)
    found = violations(
        stack.database, acknowledged=acknowledged, drained=True, store=store, scratch=stack.settings.scratch
    )
    found += [f"{process.cmdline()} still runs" for process in processes_of(stack)]
    return found, len(swept)
