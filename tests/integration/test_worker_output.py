"""What a worker prints stays as it was printed, while Celery runs."""

from __future__ import annotations

import subprocess
import sys

from core.wakeups import WakeUps

PROGRAM = """
import os, signal, sys
from worker.app import listen, worker_app

def on_wake():
    print("one", "line", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)

print("listening", flush=True)
listen(worker_app(sys.argv[1], on_wake), [None])
"""


class TestListen:
    def test_a_line_in_several_writes_stays_one(self, broker_url: str) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, broker_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "listening\n"
            assert WakeUps(broker_url).send("job")
            _, errors = worker.communicate(timeout=60)
        assert "one line" in errors.splitlines()
