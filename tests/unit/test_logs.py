"""What a failure leaves in the log: one plain traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys, structlog
from core.logs import configure_logging

def fail():
    secret = "Bearer abc"
    raise RuntimeError("it broke")

configure_logging(sys.argv[1])
try:
    fail()
except RuntimeError as error:
    structlog.get_logger().error("ours", exc_info=error)
    logging.getLogger("library").exception("theirs")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
class TestTracebacks:
    def test_they_show_lines_and_no_values(self, log_format: str) -> None:
        log = run(log_format)
        assert log.count("it broke") == 2
        assert "in fail" in log
        assert "abc" not in log
        assert len(log.splitlines()) < 25


def test_an_event_with_a_traceback_is_one_line_of_json() -> None:
    events = [json.loads(line) for line in run("json").splitlines()]
    assert [event["event"] for event in events] == ["ours", "theirs"]
    assert all(event["exception"].startswith("Traceback") for event in events)


def run(log_format: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, log_format], capture_output=True, text=True, check=True)
    return done.stderr
