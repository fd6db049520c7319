"""If-Match: a change that is meant for the resource as its client has seen it (RFC 9110)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Header

from service.problems import HttpError

IfMatchHeader = Annotated[
    str | None, Header(description="the ETag that the change is meant for; 412 when it is not the present one")
]

_STRONG = re.compile(r'(?<!W/)"[^"]*"')


def require_match(if_match: str | None, etag: str) -> None:
    """Lets a change pass that names no ETag, `*`, or the present one. Raises HttpError 412 `precondition_failed`."""
    if if_match is None or if_match.strip() == "*" or etag in _STRONG.findall(if_match):
        return
    detail = f"it has changed since: If-Match is {if_match}, and its ETag is {etag}; read it again"
    raise HttpError(HTTPStatus.PRECONDITION_FAILED, "precondition_failed", detail)
