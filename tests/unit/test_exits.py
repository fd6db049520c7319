"""What a trainer's exit code is taken to mean."""

from __future__ import annotations

import signal

import pytest

from core.states import Reason
from worker.exits import NO_DATABASE, classify


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

    @pytest.mark.parametrize("returncode", [1, -signal.SIGABRT])
    @pytest.mark.parametrize(
        "last_words",
        [
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
            "LLVM ERROR: pthread_create failed: Resource temporarily unavailable",
            "env.cc:84] Check failed: ret == 0 (11 vs. 0) Thread x creation via pthread_create() failed.\n    @  0x7f",
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2.00 GiB for an array",
            "ImportError: libtensorflow_cc.so.2: failed to map segment from shared object",
        ],
    )
    def test_one_that_was_refused_memory_is_out_of_memory_and_not_retried(
        self, returncode: int, last_words: str
    ) -> None:
        loss = classify(returncode, oom_kills=0, last_words=f"epoch 1/2\n{last_words}\n")
        assert (loss.reason, loss.most_tries) == (Reason.OUT_OF_MEMORY, 1)
        assert last_words.splitlines()[0] in loss.detail

    def test_a_kill_says_nothing_of_memory_whatever_was_printed(self) -> None:
        assert classify(-signal.SIGKILL, oom_kills=0, last_words="MemoryError").reason is Reason.WORKER_LOST

    def test_an_exit_code_is_an_internal_error(self) -> None:
        assert classify(1, oom_kills=0).reason is Reason.INTERNAL_ERROR

    def test_a_database_that_was_away_is_no_fault_of_the_job(self) -> None:
        loss = classify(NO_DATABASE, oom_kills=0)
        assert (loss.reason, loss.most_tries) == (Reason.WORKER_LOST, None)

    def test_an_unnamed_signal_is_told_by_its_number(self) -> None:
        assert "signal 63" in classify(-63, oom_kills=0).detail
