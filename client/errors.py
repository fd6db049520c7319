"""What can go wrong when talking to kerasd.

ClientError
├── ApiError            the server refused; carries its problem: status, code, detail and every fault
├── Unreachable         nothing answers at the address
└── UnexpectedAnswer    something answers that is not kerasd's API
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input: a JSON pointer into it, and what; `code` where the server gives one."""

    pointer: str
    detail: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.pointer}: {self.detail}" if self.pointer else self.detail


class ClientError(Exception):
    """The base of all errors that the client raises on purpose."""


class ApiError(ClientError):
    """A problem (RFC 9457) that the server answered with."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        errors: Sequence[Fault] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.request_id = request_id

    def __str__(self) -> str:
        """The detail, then every fault on a line of its own."""
        heading = f"{self.detail} ({self.status} {self.code})" if self.code else f"{self.detail} ({self.status})"
        return "\n".join([heading, *(f"  {fault}" for fault in self.errors)])


class Unreachable(ClientError):
    def __init__(self, url: str, cause: str) -> None:
        super().__init__(url, cause)
        self.url = url
        self.cause = cause

    def __str__(self) -> str:
        return f"no kerasd answers at {self.url} ({self.cause}); start one with `kerasd up`"


class UnexpectedAnswer(ClientError):
    def __init__(self, url: str, what: str) -> None:
        super().__init__(url, what)
        self.url = url
        self.what = what

    def __str__(self) -> str:
        return f"{self.url} answered with {self.what}: is it kerasd?"


def problem_of(status: int, reason: str, body: bytes) -> ApiError:
    """The error in an answer's body, whatever the body is."""
    try:
        problem: Any = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return ApiError(status, reason or "the server gave no reason")
    faults = problem.get("errors") or []
    return ApiError(
        status,
        str(problem.get("detail") or problem.get("title") or reason),
        code=str(problem.get("code") or ""),
        errors=[Fault(*(str(fault.get(member) or "") for member in ("pointer", "detail", "code"))) for fault in faults],
        request_id=problem.get("request_id"),
    )
