"""Which jobs are compared: the query's list, checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.errors import Fault, InvalidQuery

MOST_JOBS = 1000

_JOBS = "/query/jobs"


@dataclass(frozen=True)
class Selection:
    """Ids in the order of the query, not yet known to be jobs, and all faults that show without looking for them."""

    ids: tuple[str, ...]
    baseline: str
    faults: tuple[Fault, ...]

    def check(self, known: Collection[str]) -> None:
        """Raises InvalidQuery with every fault: also each id that is not among the `known` ones."""
        unknown = [
            Fault(f"{_JOBS}/{place}", f"there is no job {job!r}", "job_not_found")
            for place, job in enumerate(self.ids)
            if job not in known and job
        ]
        _refuse([*self.faults, *unknown])


def select_jobs(lists: Sequence[str], baseline: str | None) -> Selection:
    """From one or several lists, ids separated by commas; the baseline is the first unless said.

    Raises InvalidQuery where there are none, or more than MOST_JOBS.
    """
    ids = [job.strip() for given in lists for job in given.split(",")] if any(lists) else []
    if not ids:
        _refuse([Fault(_JOBS, "must name at least one job")])
    if len(ids) > MOST_JOBS:
        _refuse([Fault(_JOBS, f"names {len(ids):,} jobs; {MOST_JOBS:,} can be compared at once")])
    faults = []
    places: dict[str, int] = {}
    for place, job in enumerate(ids):
        if not job:
            faults.append(Fault(f"{_JOBS}/{place}", "is empty"))
        elif job in places:
            faults.append(Fault(f"{_JOBS}/{place}", f"names job {job!r} again, as at {places[job]}", "duplicate"))
        else:
            places[job] = place
    if baseline is not None and baseline not in places:
        faults.append(Fault("/query/baseline", f"{baseline!r} is not one of the jobs"))
    return Selection(tuple(ids), baseline or ids[0], tuple(faults))


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        count = len(faults)
        raise InvalidQuery(f"the query has {'a fault' if count == 1 else f'{count} faults'}", faults)
