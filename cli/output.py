"""What the commands print with: rich consoles, and the same words for the same things everywhere."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from urllib.parse import quote

from rich.console import Console

from client import Job

PIPE_WIDTH = 160
"""columns where no terminal says how many it has, so that ids are not cut"""

STATE_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "CANCELLED": "yellow", "RUNNING": "cyan"}


def stdout() -> Console:
    return _console(stderr=False)


def stderr() -> Console:
    return _console(stderr=True)


def is_ascii(console: Console) -> bool:
    return not console.encoding.lower().startswith("utf")


def accuracy(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """As a person says it: 4.2 s, 3:07, 2:03:15."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(moment: datetime) -> str:
    return f"{duration(max((datetime.now(UTC) - moment).total_seconds(), 0))} ago"


def curves_url(url: str, job_id: str) -> str:
    return f"{url}/api/v1/jobs/{job_id}/curves.png"


def predict_command(url: str, job: Job, image: str = "image.png") -> str | None:
    """A curl command that classifies an image with the job's model, ready to paste."""
    if job.model is None:
        return None
    view, _, architecture = job.model.name.rpartition(".")
    target = f"{url}/api/v1/predict/{quote(architecture, safe='')}?dataset={quote(view, safe='')}"
    return f"curl --data-binary @{shlex.quote(image)} -H 'Content-Type: image/png' '{target}'"


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, markup=False, width=None if stream.isatty() else PIPE_WIDTH)
