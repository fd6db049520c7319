"""A job in a few words: by what sets it apart from the others."""

from __future__ import annotations

from collections.abc import Sequence

from core.faults import steps_of
from core.study_space import level_text
from service.comparisons.comparison import ComparedJob, Comparison

LONGEST_LABEL = 56


def telling(comparison: Comparison) -> list[str]:
    """The fields that differ, those that say most first: names of what was chosen, what all jobs have, what some have.

    Without the options that only follow from a name: sgd has its own learning rate.
    """
    own = [field for field in comparison.fields if not _follows(comparison.jobs, field)]
    return sorted(
        own, key=lambda field: (not field.endswith("/name"), any(field not in j.spec for j in comparison.jobs))
    )


def label_of(job: ComparedJob, number: int, fields: Sequence[str]) -> str:
    """`3 optimizer=sgd batch_size=128`; without differences, its id."""
    words = " ".join(f"{_short(field)}={level_text(job.spec[field])}" for field in fields if field in job.spec)
    words = words or job.id
    return f"{number} {words if len(words) <= LONGEST_LABEL else f'{words[: LONGEST_LABEL - 1]}…'}"


def _follows(jobs: Sequence[ComparedJob], field: str) -> bool:
    """Whether it is an option of something that has a name, and has the same value wherever that name is the same."""
    name = f"{field.rpartition('/')[0]}/name"
    if field == name or name not in jobs[0].spec:
        return False
    values = {(job.spec.get(name), repr(job.spec.get(field))) for job in jobs}
    return len(values) == len({chosen for chosen, _ in values})


def _short(field: str) -> str:
    """`batch_size`, `optimizer` for its name, `dataset.seed` for what other parts of the spec have too."""
    steps = steps_of(field)
    if steps[-1] == "name":
        steps = steps[:-1]
    return ".".join(steps[-2:] if steps[-1] == "seed" or steps[-1].isdecimal() else steps[-1:])
