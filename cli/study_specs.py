"""Study specs as a person hands them in: a file, with some of it changed on the command line, and its faults by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cli.failures import FAILED, INVALID, CommandFailed
from cli.positions import line_of
from cli.specs import change_spec, parse_object, read_text
from client import ApiError, Fault

OF_ANOTHER_SET = ("classes", "view")
"""fields of a dataset's choice that mean nothing in another dataset"""


@dataclass(frozen=True)
class StudyFile:
    """A study spec and the text that it was read from."""

    source: str
    text: str
    spec: dict[str, Any]

    @contextmanager
    def told_by_line(self) -> Iterator[None]:
        """The server's faults, each with its line of the file. Raises CommandFailed."""
        try:
            yield
        except ApiError as error:
            if not error.errors:
                raise
            lines = [f"{error.detail} ({error.status} {error.code})", *(self._told(fault) for fault in error.errors)]
            raise CommandFailed("\n".join(lines), INVALID if error.status < 500 else FAILED) from None

    def _told(self, fault: Fault) -> str:
        line = line_of(self.text, fault.pointer)
        return f"  {self.source}:{line}: {fault}" if line else f"  {fault}"


def read_study(source: str) -> StudyFile:
    """From a JSON file, or standard input for "-". Raises CommandFailed."""
    text = read_text(source)
    return StudyFile("standard input" if source == "-" else source, text, parse_object(text, source))


def adjust(
    spec: dict[str, Any],
    *,
    no_budget: bool = False,
    budget: Mapping[str, Any],
    dataset: str | None = None,
    seeds: int | None = None,
    max_parallel: int | None = None,
    changes: Iterable[str] = (),
) -> None:
    """Changes a study spec in place as the options say; what is None stays. Raises CommandFailed."""
    if no_budget:
        spec.pop("budget", None)
    if given := {key: value for key, value in budget.items() if value is not None}:
        spec["budget"] = {**_object(spec, "budget"), **given}
    if dataset is not None:
        base = spec["base"] = _object(spec, "base")
        kept = base.get("dataset")
        kept = kept if isinstance(kept, dict) else {}
        base["dataset"] = {**{key: kept[key] for key in kept if key not in OF_ANOTHER_SET}, "name": dataset}
    if seeds is not None:
        spec["seeds"] = seeds
        if isinstance(spec.get("budget"), dict):
            spec["budget"].pop("seeds", None)  # the wish is newer than the budget
    if max_parallel is not None:
        spec["max_parallel"] = max_parallel
    change_spec(spec, changes)


def _object(spec: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Raises CommandFailed."""
    value = spec.get(field) or {}
    if not isinstance(value, dict):
        raise CommandFailed(f"{field} of the study spec is not an object", INVALID)
    return value
