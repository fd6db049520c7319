"""Callbacks whose state must outlive their process: a resumed training goes on as if it had never stopped."""

from __future__ import annotations

from typing import Any, Protocol


class Remembering(Protocol):
    """`key` names the callback's state in a checkpoint; the state is plain JSON data."""

    key: str

    def state(self) -> dict[str, Any]: ...

    def restore_state(self, state: dict[str, Any]) -> None: ...
