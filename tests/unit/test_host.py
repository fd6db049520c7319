"""Telling a living holder from a dead one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from worker.host import lives, this_holder


class TestLives:
    def test_this_process_lives(self) -> None:
        assert lives(this_holder())

    def test_another_process_under_the_same_id_is_not_the_holder(self) -> None:
        holder = this_holder()
        assert not lives(replace(holder, process_started=holder.process_started - 60))

    def test_an_ended_process_does_not_live(self) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        assert not lives(replace(this_holder(), pid=ended.pid))

    def test_a_zombie_does_not_live(self) -> None:
        import psutil

        with subprocess.Popen([sys.executable, "-c", ""]) as child:
            process = psutil.Process(child.pid)
            holder = replace(this_holder(), pid=child.pid, process_started=process.create_time())
            while process.status() != psutil.STATUS_ZOMBIE:  # ends by the test's own timeout
                pass
            assert not lives(holder)
