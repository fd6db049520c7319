"""The warm trainer, as a real process that is given nothing to do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from stack import until

from worker.standby import Standby


class TestStandby:
    def test_one_that_died_leaves_no_temporary_files_behind(self, tmp_path: Path) -> None:
        standby = Standby(tmp_path, on_exit=lambda: None, wanted=True)
        standby.prepare()
        first = standby._ready
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: first.returncode() is not None, 10, "the standby is dead")
        trainer = standby.take()
        try:
            assert trainer is not first
            assert list(tmp_path.iterdir()) == [trainer.scratch]
        finally:
            trainer.kill()
        assert list(tmp_path.iterdir()) == []
