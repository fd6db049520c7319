"""What is wrong with a study spec itself, before any of the job specs in it is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from core.errors import Fault
from core.faults import escaped
from core.jobspec import LARGEST_SEED
from core.studyspec import MOST_RUNS, MOST_VARIANTS, Range, StudySpec, Variant, combinations, pointer_of

OWN_FIELDS = {"/seed": "say which in `seeds`", "/objective": "a study has one objective; say it in `objective`"}
"""Fields of a job spec that no point of the space may set."""


def own_faults(spec: StudySpec) -> Iterator[Fault]:
    """Every one, with its pointer into the study spec. What it costs does not depend on how many points there are."""
    seeds = spec.all_seeds
    if len(set(seeds)) < len(seeds):
        yield Fault("/seeds", "names a seed twice")
    if max(seeds) > LARGEST_SEED:
        yield Fault("/seeds", f"count up to {max(seeds)} from the base's; the largest seed is {LARGEST_SEED}")
    if spec.base.get("objective") is not None and spec.objective is not None:
        yield Fault("/objective", "the base has one too; leave one of them out")
    yield from _faults_of_list(spec.variants) if spec.variants is not None else _faults_of_space(spec)
    if spec.search.method == "grid":
        if spec.search.trials is not None:
            yield Fault("/search/trials", "a grid tries every point; only a random or Bayesian search has trials")
    elif spec.variants is not None:
        yield Fault("/search/method", "a list of variants is tried as a whole; a search needs a space")
    points = spec.search.trials or (len(spec.variants) if spec.variants else combinations(spec.space or {}))
    if points > MOST_VARIANTS:
        yield Fault(
            "/space",
            f"has {points:,} combinations; a study has at most {MOST_VARIANTS:,}: give fewer values, or let search.method "
            "random or bayesian choose among them",
            "too_many_combinations",
        )
    elif points * len(seeds) > MOST_RUNS:
        yield Fault("/seeds", f"makes {points * len(seeds):,} jobs; a study has at most {MOST_RUNS:,}", "too_many_jobs")


def _faults_of_space(spec: StudySpec) -> Iterator[Fault]:
    yield from _faults_of_paths("/space", spec.space or {})
    for path, values in (spec.space or {}).items():
        here = f"/space/{escaped(path)}"
        if isinstance(values, Range):
            if not spec.adaptive:
                detail = "a grid needs a list of values; a range is for search.method random or bayesian"
                yield Fault(here, detail)
            continue
        if not values:
            yield Fault(here, "is an empty list; it needs at least one value", "empty_list")
        seen: dict[bytes, int] = {}
        for index, value in enumerate(values):
            first = seen.setdefault(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), index)
            if first != index and spec.adaptive:
                yield Fault(f"{here}/{index}", f"repeats value {first}")


def _faults_of_list(variants: list[Variant]) -> Iterator[Fault]:
    by_name: dict[str, Variant] = {}
    for number, variant in enumerate(variants):
        if variant.name in by_name:
            yield Fault(f"/variants/{number}/name", f"{variant.name!r} is named twice")
        by_name[variant.name] = variant
        yield from _faults_of_paths(f"/variants/{number}/set", variant.set)
    yield from _faults_of_lending(variants, by_name)


def _faults_of_lending(variants: list[Variant], by_name: dict[str, Variant]) -> Iterator[Fault]:
    wanted = set()
    for number, variant in enumerate(variants):
        if variant.starts_from is None:
            continue
        here, name = f"/variants/{number}/starts_from/variant", variant.starts_from.variant
        wanted.add(name)
        if name not in by_name:
            yield Fault(here, f"there is no variant {name!r}", "unknown_variant")
        elif by_name[name].starts_from is not None:
            yield Fault(here, f"{name!r} starts from another variant itself")
    for number, variant in enumerate(variants):
        if variant.donor and variant.name not in wanted:
            yield Fault(f"/variants/{number}/donor", "no variant starts from it")
    if all(variant.donor for variant in variants):
        yield Fault("/variants", "holds only donors: there is nothing to compare")


def _faults_of_paths(where: str, paths: Iterable[str]) -> Iterator[Fault]:
    """Fields that none may set, or that two paths set."""
    told: dict[str, str] = {}
    for path in paths:
        here, pointer = f"{where}/{escaped(path)}", pointer_of(path)
        if pointer in OWN_FIELDS:
            yield Fault(here, OWN_FIELDS[pointer])
        first = told.setdefault(pointer, path)
        if first != path:
            yield Fault(here, f"sets the same field as {first}")
