"""From a request body to a checked study: every job spec in it is checked before anything starts, or every fault is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core.donors import Donor, DonorLookup, Wanted
from core.errors import Fault, InvalidJobSpec, InvalidStudySpec
from core.faults import validation_faults
from core.recipes.transfer import JobWeights
from core.repositories.studies import NewVariant
from core.study_space import Point, SettingMisplaced, job_body, level_text, point_at, points_of
from core.studyspec import MOST_VARIANTS, Range, StudySpec
from core.validation import CheckedSpec, Lookup, check_spec
from service.studies.faults import own_faults

DEFAULT_TRIALS = 20
MOST_FAULTS = 50
"""told at once; of ten thousand combinations, most are wrong for the same reason"""


@dataclass(frozen=True)
class CheckedStudy:
    """A study that can be run."""

    spec: StudySpec
    """normalised"""
    points: list[tuple[Point, CheckedSpec]]
    """every variant with a job of it; of a search, the corners of its space"""
    variants: list[NewVariant]
    """none where a search chooses them"""
    stand_in: bool
    warnings: list[dict[str, Any]]

    @property
    def first(self) -> CheckedSpec:
        """Of its first job: dataset and objective are the same for all."""
        return self.points[0][1]


def check_study(body: Any, lookup: Lookup, donors: DonorLookup, is_here: Callable[[str], bool]) -> CheckedStudy:
    """Checks a parsed JSON body. `is_here`: whether a dataset has been imported. Raises InvalidStudySpec with every fault."""
    try:
        spec = StudySpec.model_validate(body)
    except ValidationError as error:
        raise InvalidStudySpec(validation_faults(error, body)) from None
    spec = _normalised(spec)
    faults = list(own_faults(spec))
    if faults:
        raise InvalidStudySpec(faults)
    stand_in = _stands_in(spec, is_here)
    points = list(_points(spec))
    found = _check_points(spec, points, stand_in, lookup, donors, faults)
    if not faults:
        faults += _together(spec, found)
    if faults:
        raise InvalidStudySpec(faults)
    checked = [(point, entry) for point, _, entry in found]
    variants = [] if spec.adaptive else [_variant(spec, *entry) for entry in found]
    return CheckedStudy(spec, checked, variants, stand_in, list(_warnings(spec, checked, stand_in)))


def _normalised(spec: StudySpec) -> StudySpec:
    if spec.adaptive and spec.search.trials is None:
        return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": DEFAULT_TRIALS})})
    return spec


def _stands_in(spec: StudySpec, is_here: Callable[[str], bool]) -> bool:
    if spec.budget is None or spec.budget.stand_in is None:
        return False
    dataset = spec.base.get("dataset")
    name = dataset.get("name") if isinstance(dataset, Mapping) else dataset
    return not (isinstance(name, str) and is_here(name))


def _points(spec: StudySpec) -> Iterator[Point]:
    """What is checked: every point; of a space too large for that, each value beside the first of the others."""
    space = spec.space or {}
    ends = [len(values) if isinstance(values, list) else 2 for values in space.values()]
    if spec.variants is not None or math.prod(ends) <= MOST_VARIANTS:
        yield from points_of(spec)
        return
    choices = {
        path: list(enumerate(values)) if isinstance(values, list) else _ends(values) for path, values in space.items()
    }
    first = {path: entries[0] for path, entries in choices.items()}
    yield point_at(spec, first)
    for path, entries in choices.items():
        for entry in entries[1:]:
            yield point_at(spec, {**first, path: entry})


def _ends(values: Range) -> list[tuple[int | None, Any]]:
    return [(None, int(end) if values.integer else end) for end in (values.low, values.high)]


Found = tuple[Point, dict[str, Any], CheckedSpec]


def _check_points(
    spec: StudySpec, points: list[Point], stand_in: bool, lookup: Lookup, donors: DonorLookup, faults: list[Fault]
) -> list[Found]:
    """Each point that can be trained, its job's body and check; what is wrong with the others is added to `faults`."""
    found: list[Found] = []
    lenders: dict[str, CheckedSpec] = {}
    told: set[tuple[str, str]] = set()
    seed = spec.all_seeds[0]
    # Donors first, since what starts from them is checked with their weights.
    for point in sorted(points, key=lambda point: point.variant is not None and point.variant.starts_from is not None):
        try:
            body = job_body(spec, point, seed, stand_in=stand_in)
            checked = check_spec(_lent_to(point, body), lookup, _with_lenders(donors, lenders))
        except SettingMisplaced as error:
            new = [Fault(_whatever_its_value(point.origins[error.pointer]), error.detail, "no_such_place")]
        except InvalidJobSpec as error:
            new = [_of_study(fault, point, stand_in) for fault in error.faults]
        else:
            lenders[point.name] = checked
            found.append((point, body, _as_submitted(point, body, checked, lookup, donors)))
            continue
        for fault in new:
            key = (fault.pointer, fault.detail.partition(" (with ")[0])
            if key not in told:
                told.add(key)
                faults.append(fault)
        if len(faults) >= MOST_FAULTS:
            break
    order = {id(point): place for place, point in enumerate(points)}
    return sorted(found, key=lambda entry: order[id(entry[0])])


def _lent_to(point: Point, body: dict[str, Any]) -> dict[str, Any]:
    """The body as it is submitted once the variant that it starts from has been trained."""
    if point.variant is None or point.variant.starts_from is None:
        return body
    architecture = body.get("architecture")
    architecture = {"name": architecture} if isinstance(architecture, str) else architecture
    if not isinstance(architecture, dict):
        return body
    weights = {"job": point.variant.starts_from.variant, "part": "base"}
    return {**body, "architecture": {**architecture, "weights": weights}}


def _as_submitted(
    point: Point, body: dict[str, Any], checked: CheckedSpec, lookup: Lookup, donors: DonorLookup
) -> CheckedSpec:
    """The check of the body as it is: until its donor's job is known, a spec speaks of published weights where it can."""
    if point.variant is None or point.variant.starts_from is None:
        return checked
    try:
        return check_spec(body, lookup, donors)
    except InvalidJobSpec:
        return checked


def _with_lenders(donors: DonorLookup, lenders: Mapping[str, CheckedSpec]) -> DonorLookup:
    """Knows the variants that have been checked as well, by name."""

    def lookup(wanted: Wanted) -> Donor | Fault:
        lender = lenders.get(wanted.job) if isinstance(wanted, JobWeights) else None
        if lender is None or not isinstance(wanted, JobWeights):
            return donors(wanted)
        return Donor(wanted.job, lender.document, len(lender.labels), lender.input_shape, "", "", 0)

    return lookup


def _of_study(fault: Fault, point: Point, stand_in: bool) -> Fault:
    """Points at what in the study spec set the faulty field; the detail names all that the point sets."""
    touched = [pointer for pointer in point.settings if _touches(pointer, fault.pointer)]
    if touched:
        where = point.origins[max(touched, key=len)]
        if fault.code == "unknown_field":
            where = _whatever_its_value(where)
    elif stand_in and fault.pointer.startswith("/dataset"):
        where = "/budget/stand_in"
    else:
        where = f"/base{fault.pointer}"
    setting = ", ".join(
        f"{pointer[1:].replace('/', '.')} = {level_text(value)}" for pointer, value in point.settings.items()
    )
    field = fault.pointer[1:].replace("/", ".") or "the job spec"
    return Fault(where, f"{field}: {fault.detail}" + (f" (with {setting})" if setting else ""), fault.code)


def _whatever_its_value(origin: str) -> str:
    """The field's own place in the space, of that of one of its values."""
    field, _, last = origin.rpartition("/")
    return field if origin.startswith("/space/") and last.isdecimal() and field != "/space" else origin


def _touches(pointer: str, other: str) -> bool:
    return pointer == other or pointer.startswith(f"{other}/") or other.startswith(f"{pointer}/")


def _together(spec: StudySpec, found: list[Found]) -> Iterator[Fault]:
    """What no job spec shows alone."""
    if spec.pruning is not None:
        most = max(checked.spec.epochs for _, _, checked in found)
        if spec.pruning.min_epochs >= most:
            yield Fault("/pruning/min_epochs", f"no job trains longer than {most} epochs, so none could be ended early")


def _variant(spec: StudySpec, point: Point, body: dict[str, Any], checked: CheckedSpec) -> NewVariant:
    starts_from = None
    if point.variant is not None and point.variant.starts_from is not None:
        names = [variant.name for variant in spec.variants or []]
        wanted = point.variant.starts_from
        starts_from = {"variant": names.index(wanted.variant) + 1, "unless": wanted.unless}
    return NewVariant(
        name=point.name,
        architecture=checked.spec.architecture.name,
        body={key: value for key, value in body.items() if key != "seed"},
        spec=checked.document,
        levels=point.settings,
        starts_from=starts_from,
        donor=point.variant is not None and point.variant.donor,
    )


def _warnings(spec: StudySpec, checked: list[tuple[Point, CheckedSpec]], stand_in: bool) -> Iterator[dict[str, Any]]:
    if stand_in and spec.budget is not None:
        base = spec.base.get("dataset")
        name = base.get("name") if isinstance(base, Mapping) else base
        detail = (
            f"{name} has not been imported, so {spec.budget.stand_in} stands in for it; import {name} and submit again"
        )
        yield {"code": "stand_in_dataset", "detail": detail}
    if spec.budget is not None:
        limits = spec.budget.model_dump(exclude_none=True, exclude={"stand_in"})
        if limits:
            said = ", ".join(f"{field} {value:g}" for field, value in limits.items())
            detail = f"the budget makes every job smaller ({said}): its figures are not those of the full study"
            yield {"code": "reduced_by_budget", "detail": detail}
    if len(spec.all_seeds) < 3:
        detail = "fewer than three seeds: intervals are wide, or there are none"
        yield {"code": "few_seeds", "detail": detail}
    hashes = [entry.spec_hash for _, entry in checked]
    if len(set(hashes)) < len(hashes):
        detail = "some variants have the same spec: each is trained all the same, and their difference is chance"
        yield {"code": "same_spec", "detail": detail}
