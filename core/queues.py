"""Queues: which workers may take a job, by the devices that they have."""

from __future__ import annotations

from typing import Literal

Queue = Literal["cpu", "gpu"]

MOST_DEVICES = 64
"""that one job may train on"""


def channel_name(queue: str | None) -> str:
    """Where the broker keeps wake-ups for the workers of a queue, or for all."""
    return f"kerasd.{queue}" if queue else "kerasd"
