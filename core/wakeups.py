"""Wake-ups: messages that say "look at the queue". They carry no state, so losing or repeating one is harmless."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.queues import channel_name

WAKE = "kerasd.wake"
SOCKET_TIMEOUT_SECONDS = 2.0


def celery_app(broker_url: str) -> Celery:
    """A Celery app that never waits for its broker longer than a moment and never keeps results."""
    app = Celery("kerasd", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=channel_name(None),
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # More than the API has threads: none waits for a connection while others wait for a broker that is silent.
        broker_pool_limit=64,
        broker_transport_options={
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "health_check_interval": 10,
            "retry_on_timeout": False,
            # kombu's own defaults wait 2 s and then 4 s for a broker that refuses connections.
            "max_retries": 0,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
        },
    )
    return app


class WakeUps:
    """Sends wake-ups. A broker that is away costs at most a moment: workers find the row on their own."""

    def __init__(self, broker_url: str) -> None:
        self._app = celery_app(broker_url)

    def send(self, job_id: str, queue: str | None = None) -> bool:
        """Wakes a worker of the queue, or any. Returns whether the broker took the message."""
        try:
            self._app.send_task(WAKE, args=[job_id], queue=channel_name(queue), expires=60)
        except (OperationalError, OSError):
            return False
        return True

    def reachable(self) -> bool:
        """Whether the broker answers a ping, within SOCKET_TIMEOUT_SECONDS."""
        try:
            with self._app.connection_for_write() as connection:
                channel: Any = connection.default_channel  # of kombu's Redis transport: it has the client
                channel.client.ping()
        except (OperationalError, OSError, RedisError):
            return False
        return True
