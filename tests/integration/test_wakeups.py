"""Wake-ups reach a real broker, and never wait long for one that is away."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.wakeups import WakeUps


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """A socket that takes connections and never answers."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "silent.sock"
        listener.bind(str(path))
        listener.listen(8)
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"redis+socket://{path}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


class TestSend:
    def test_a_broker_takes_it(self, broker_url: str) -> None:
        wakeups = WakeUps(broker_url)
        assert wakeups.send("job")
        assert wakeups.reachable()

    def test_nobody_listening_is_told_at_once(self, tmp_path: Path) -> None:
        wakeups = WakeUps(f"redis+socket://{tmp_path / 'nothing.sock'}")
        started = time.monotonic()
        assert not wakeups.send("job")
        assert not wakeups.reachable()
        assert time.monotonic() - started < 2

    def test_a_half_open_broker_costs_less_than_five_seconds(self, silent_broker: str) -> None:
        """Row 9 of the fault matrix."""
        wakeups = WakeUps(silent_broker)
        started = time.monotonic()
        assert not wakeups.send("job")
        assert time.monotonic() - started < 5
