"""What all of the API's collections and long-lived resources have in common: pages, and waiting for an end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from client.connection import ANSWER_SECONDS, Connection

LONG_POLL_SECONDS = 30
PAGE_SIZE = 100
NOT_MODIFIED = 304


class Ending(Protocol):
    """A resource that changes until it has reached one of its last states."""

    @property
    def state(self) -> str: ...

    @property
    def etag(self) -> str: ...

    @property
    def ended(self) -> bool: ...


E = TypeVar("E", bound=Ending)
Parse = Callable[[Mapping[str, Any]], E]


def listed(
    connection: Connection,
    path: str,
    filters: Mapping[str, Any],
    limit: int | None,
    *,
    order_by: str | None = "-created_at",
) -> Iterator[Any]:
    """The collection's items as JSON, by default newest first, page by page; `limit` None means all."""
    token: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE_SIZE if left is None else min(left, PAGE_SIZE)
        params = {**filters, "page_size": size, "page_token": token, "order_by": order_by}
        page = connection.json("GET", path, params=params)
        yield from page["items"]
        token = page["next_page_token"]
        left = None if left is None else left - len(page["items"])
        if token is None:
            return


def wait_until_ended(connection: Connection, path: str, parse: Parse[E], name: str, timeout: float | None) -> E:
    """The resource once it has ended, by long polls. Raises TimeoutError after `timeout` seconds, if given."""
    deadline = None if timeout is None else time.monotonic() + timeout
    resource = parse(connection.json("GET", path))
    while not resource.ended:
        left = LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{name} is still {resource.state} after {timeout:g} s")
        resource = _changed(connection, path, parse, resource, min(left, LONG_POLL_SECONDS))
    return resource


def _changed(connection: Connection, path: str, parse: Parse[E], resource: E, seconds: float) -> E:
    """The resource as soon as it differs from `resource`, or as it is after about `seconds`."""
    response = connection.request(
        "GET",
        path,
        headers={"If-None-Match": resource.etag, "Prefer": f"wait={max(1, round(seconds))}"},
        answer_seconds=seconds + ANSWER_SECONDS,
    )
    return resource if response.status_code == NOT_MODIFIED else parse(response.json())
