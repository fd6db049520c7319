"""Datasets over HTTP, as a client brings them."""

from __future__ import annotations

from typing import Any

from stack import Stack, until


def upload(stack: Stack, name: str, content: bytes, filename: str = "images.zip", **fields: str) -> Any:
    return stack.http.post("/api/v1/datasets", data={"name": name, **fields}, files={"file": (filename, content)})


def wait_imported(stack: Stack, name: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        dataset: dict[str, Any] = stack.http.get(f"/api/v1/datasets/{name}").json()
        return dataset if dataset["state"] != "IMPORTING" else None

    return until(ended, 60, f"dataset {name} is imported", lambda: stack.log("worker"))
