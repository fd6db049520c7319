"""Specs as a person writes them on a command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cli.failures import INVALID, CommandFailed

NAMED = ("dataset", "architecture", "optimizer")
"""fields whose short form is a bare name"""

JOB_SPECS: tuple[list[str], ...] = ([], ["base"])
"""where they stand: a spec itself, and a study's base"""

DEEPEST = 64
"""levels of a spec"""


def read_spec(source: str) -> dict[str, Any]:
    """The spec in a JSON file, or on standard input for "-". Raises CommandFailed."""
    return parse_object(read_text(source), source)


def read_text(source: str) -> str:
    """Of a file, or of standard input for "-". Raises CommandFailed."""
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot read {source}: {(error.strerror or str(error)).lower()}", INVALID) from None
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{source} is not JSON: {error}", INVALID) from None


def parse_object(text: str, source: str) -> dict[str, Any]:
    """The JSON object in a text. Raises CommandFailed."""
    try:
        spec = _parsed(text, source)
    except ValueError as error:
        raise CommandFailed(f"{source} is not JSON: {error}", INVALID) from None
    if not isinstance(spec, dict):
        raise CommandFailed(f"{source} holds no JSON object", INVALID)
    return spec


def build_spec(options: Mapping[str, Any], *, tags: Iterable[str] = (), changes: Iterable[str] = ()) -> dict[str, Any]:
    """A spec from options by their JSON pointer, with `key=value` tags and `pointer=value` changes on top.

    Options that are None are left to the server's defaults. Raises CommandFailed.
    """
    spec: dict[str, Any] = {}
    for pointer, value in options.items():
        if value is not None:
            _put(spec, _steps(pointer), value)
    for tag in tags:
        key, value = split_pair(tag, "--tag")
        _put(spec, ["tags", key], value)
    change_spec(spec, changes)
    return spec


def change_spec(spec: dict[str, Any], changes: Iterable[str]) -> None:
    """Puts `pointer=value` changes into a spec in place. Raises CommandFailed."""
    for change in changes:
        path, text = split_pair(change, "--set")
        _put(spec, _steps(path), json_value(text, "--set"))


def _put(spec: dict[str, Any], steps: list[str], value: Any) -> None:
    here = spec
    for position, step in enumerate(steps[:-1]):
        below = here.setdefault(step, {})
        if steps[:position] in JOB_SPECS and step in NAMED and isinstance(below, str):
            below = here[step] = {"name": below}
        if not isinstance(below, dict):
            where = ".".join(steps[: position + 1])
            raise CommandFailed(f"--set {'.'.join(steps)}: {where} is not an object", INVALID)
        here = below
    present = here.get(steps[-1])
    if isinstance(present, dict) and steps[-1] in NAMED and steps[:-1] in JOB_SPECS and isinstance(value, str):
        present["name"] = value
    else:
        here[steps[-1]] = value


def _steps(path: str) -> list[str]:
    """The steps of a JSON pointer (/optimizer/name) or a dotted path (optimizer.name)."""
    if path.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    else:
        steps = path.split(".")
    if not all(steps):
        raise CommandFailed(f"--set {path}: not a path into a spec", INVALID)
    return steps


def split_pair(text: str, option: str) -> tuple[str, str]:
    """The two sides of `key=value`. Raises CommandFailed."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandFailed(f"{option} {text}: must look like key=value", INVALID)
    return key, value


def json_value(text: str, option: str) -> Any:
    """JSON where it is JSON (3, 1e-4, true, null, {...}), else the text itself. Raises CommandFailed."""
    try:
        return _parsed(text, f"a value of {option}")
    except ValueError:
        return text


def _parsed(text: str, source: str) -> Any:
    """Raises ValueError for what is not JSON, CommandFailed for JSON that no spec is and no server would read."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise CommandFailed(f"{source} is nested too deeply", INVALID) from None
    level = [value]
    for _ in range(DEEPEST):
        level = [child for each in level for child in _children(each)]
    if level:
        raise CommandFailed(f"{source} is nested too deeply: more than {DEEPEST} levels", INVALID)
    return value


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
