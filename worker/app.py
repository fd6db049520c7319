"""The Celery side of a worker: it listens for wake-ups and hands them to the supervisor. No work runs in a task."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning

from core.queues import Queue, channel_name
from core.wakeups import WAKE, celery_app


def worker_app(broker_url: str, on_wake: Callable[[], None]) -> Celery:
    """An app whose one task calls `on_wake`. The message's job id is for logs only: the rows say what to do."""
    app = celery_app(broker_url)
    app.conf.worker_redirect_stdouts = False  # Celery would log each write on its own, tracebacks token by token

    @app.task(name=WAKE, ignore_result=True)
    def wake(job_id: str) -> None:
        on_wake()

    return app


def listen(app: Celery, queues: Sequence[Queue | None]) -> None:
    """Consumes the wake-ups for these queues until SIGTERM or SIGINT. The solo pool suits tasks that only set an event, and forks nothing."""
    # Celery warns root of pickled messages; this app accepts JSON only, and containers run it unprivileged.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    consumer: Any = app.Worker(
        queues=[channel_name(queue) for queue in queues],
        pool="solo",
        concurrency=1,
        loglevel="WARNING",
        quiet=True,
        without_heartbeat=True,
        without_gossip=True,
        without_mingle=True,
    )
    consumer.start()
