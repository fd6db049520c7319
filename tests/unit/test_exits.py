"""What a trainer's exit code is taken to mean."""

from __future__ import annotations

import signal

from core.states import Reason
from worker.exits import classify


class TestClassify:
    def test_a_segfault_is_a_native_crash_with_one_retry(self) -> None:
        loss = classify(-signal.SIGSEGV, oom_kills=0)
        assert (loss.reason, loss.most_tries) == (Reason.NATIVE_CRASH, 2)
        assert "SIGSEGV" in loss.detail

    def test_a_kill_with_an_oom_event_is_out_of_memory_and_not_retried(self) -> None:
        loss = classify(-signal.SIGKILL, oom_kills=1)
        assert (loss.reason, loss.most_tries) == (Reason.OUT_OF_MEMORY, 1)

    def test_a_kill_without_one_is_a_lost_worker_with_all_tries(self) -> None:
        loss = classify(-signal.SIGKILL, oom_kills=0)
        assert (loss.reason, loss.most_tries) == (Reason.WORKER_LOST, None)

    def test_an_exit_code_is_an_internal_error(self) -> None:
        assert classify(1, oom_kills=0).reason is Reason.INTERNAL_ERROR

    def test_an_unnamed_signal_is_told_by_its_number(self) -> None:
        assert "signal 63" in classify(-63, oom_kills=0).detail
